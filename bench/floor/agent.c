/*
 * The smallest guest agent that can run a program: what Kiln's own agent is measured against.
 *
 * It is the first process of its guest and speaks lines on the only virtio-serial port: "ping" is answered by "pong",
 * anything else is split at blanks, run, and answered by its output, standard and error, in one line with '|' for
 * newlines. No streams, no exit codes, no limits, no second program at once: nothing here could be left out.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LINE 4096
#define MAX_WORDS 32
/* Nobody at the other end: look again after 1 ms, and give up after a minute, so that no guest outlives its host. */
#define RETRY_US 1000
#define MAX_RETRIES 60000

extern char **environ;

static int open_port(void) {
  glob_t found;
  for (int tries = 0; tries < 5000; tries++, usleep(RETRY_US))
    if (glob("/dev/vport*", 0, NULL, &found) == 0) return open(found.gl_pathv[0], O_RDWR);
  return -1;
}

/* Reads one line, without its newline, into `line`; a host sends no second one before the first was answered. */
static void read_line(int port, char *line) {
  int length = 0;
  for (int retries = 0;;) {
    ssize_t got = read(port, line + length, MAX_LINE - 1 - length);
    if (got <= 0) {
      if (++retries > MAX_RETRIES) reboot(RB_POWER_OFF);
      usleep(RETRY_US);
      continue;
    }
    retries = 0;
    length += got;
    if (line[length - 1] == '\n' || length == MAX_LINE - 1) break;
  }
  line[length - 1] = 0;
}

static int run(char *line, char *output, int room) {
  char *words[MAX_WORDS + 1];
  int count = 0, length = 0, ends[2];
  for (char *word = strtok(line, " "); word && count < MAX_WORDS; word = strtok(NULL, " ")) words[count++] = word;
  words[count] = NULL;
  if (count == 0 || pipe2(ends, O_CLOEXEC) != 0) return 0;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
  pid_t pid;
  int failed = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  ssize_t got;
  while (length < room && (got = read(ends[0], output + length, room - length)) > 0) length += got;
  close(ends[0]);
  if (failed) return 0;
  waitpid(pid, NULL, 0);
  for (int i = 0; i < length; i++)
    if (output[i] == '\n') output[i] = '|';
  return length;
}

static void answer(int port, const char *bytes, int length) {
  for (ssize_t wrote; length > 0; bytes += wrote, length -= wrote)
    if ((wrote = write(port, bytes, length)) < 0) return;
}

int main(void) {
  static char line[MAX_LINE], output[MAX_LINE + 1];
  setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
  /* Each is there already or not, depending on the initramfs. */
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  mount("proc", "/proc", "proc", 0, NULL);
  int port = open_port();
  if (port < 0) return 1;
  fcntl(port, F_SETFD, FD_CLOEXEC);
  answer(port, "READY\n", 6);
  for (;;) {
    read_line(port, line);
    if (strcmp(line, "ping") == 0) {
      answer(port, "pong\n", 5);
      continue;
    }
    int length = run(line, output, MAX_LINE);
    output[length++] = '\n';
    answer(port, output, length);
  }
}
