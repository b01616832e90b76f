#!/usr/bin/perl
# Forks what VMs need, for a process that can only spawn: Node.js copies its page tables for that and stands still meanwhile, for some 20 ms when it
# is large, and whatever it spawns has to start. This is small, and what it forks runs at once. Started by zygote.ts:
#
#     zygote.pl OWNER
#
# OWNER: pid of the process that starts it, with which it dies. It reads lines of words, those after the number in hexadecimal digits:
#
#     start NUMBER SCRIPT WORD ...        forks process NUMBER, which runs the script's `main` with the words
#     start-with NUMBER OTHER SCRIPT ...  the same, and it keeps the input of process OTHER open, as does what it becomes
#     write NUMBER TEXT                   passes the text to its standard input
#     close NUMBER                        ends that
#     kill NUMBER
#
# and says
#
#     started NUMBER PID
#     said NUMBER TEXT                    on its standard output or standard error
#     ended NUMBER CODE SIGNAL            the last of it; one of the two is 0
use strict;
use warnings;
use Fcntl qw(F_SETFD F_SETFL O_NONBLOCK);

# Of x86_64: <asm/unistd_64.h>.
use constant { SYS_RT_SIGPROCMASK => 14, SYS_PRCTL => 157, SYS_SIGNALFD4 => 289 };
use constant { SIG_BLOCK => 0, SIG_UNBLOCK => 1, SFD_NONBLOCK => 2048, SFD_CLOEXEC => 524288, PR_SET_PDEATHSIG => 1, PR_SET_NAME => 15, WNOHANG => 1 };
use constant { SIGKILL => 9, SIGCHLD => 17 };
use constant READ_BYTES => 65536;
use constant LONGEST_LINE => 4194304;

my $ends_of_children = pack "Q", 1 << (SIGCHLD - 1);
# By number: its pid, the end of a pipe for what it reads, and that of one for what it says.
my (%processes, %number_of);
# Readable when a child has ended.
my $ends;
# By the path of a script, its main subroutine.
my %mains;

sub tell_owner {
  my $text = "@_\n";
  while ($text ne "") {
    my $sent = syswrite(STDOUT, $text) // exit 1; # Nobody listens.
    substr($text, 0, $sent) = "";
  }
}

sub mask_ends {
  my ($how) = @_;
  syscall(SYS_RT_SIGPROCMASK, $how, my $set = $ends_of_children, 0, 8) == 0 or die "sigprocmask: $!\n";
}

# What `ps -o comm` calls it.
sub name_process { syscall SYS_PRCTL, PR_SET_NAME, my $name = $_[0] =~ s{.*/}{}r, 0, 0, 0 }

# In the child: nothing of the others stays open, or their inputs would not end.
sub run {
  my ($in, $out, $kept, $script, @words) = @_;
  open STDIN, "<&", $in or die "standard input: $!\n";
  open STDOUT, ">&", $out or die "standard output: $!\n";
  open STDERR, ">&", $out or die "standard error: $!\n";
  if ($kept) { fcntl $kept, F_SETFD, 0 or die "fcntl: $!\n" }
  close $_ for $in, $out, $ends;
  (%processes, %number_of) = ();
  mask_ends(SIG_UNBLOCK);
  $SIG{PIPE} = "DEFAULT";
  name_process($script);
  $mains{$script}->(@words);
}

# A script gives its main subroutine as its value, and is compiled once.
sub main_of {
  my ($script) = @_;
  return $mains{$script} //= do($script) || die "$script: " . ($@ || $!) . "\n";
}

sub start {
  my ($number, $other, $script, @words) = @_;
  my $pid = eval {
    main_of($script);
    my $kept = defined $other ? ($processes{$other}{in} // die "process $other takes no input any more\n") : undef;
    pipe my $their_in, my $in or die "pipe: $!\n";
    pipe my $out, my $their_out or die "pipe: $!\n";
    fcntl $out, F_SETFL, O_NONBLOCK or die "fcntl: $!\n";
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
      close $_ for $in, $out;
      eval { run($their_in, $their_out, $kept, $script, @words) };
      print STDERR $@;
      exit 1;
    }
    $processes{$number} = { pid => $pid, in => $in, out => $out };
    $number_of{$pid} = $number;
    $pid;
  };
  return tell_owner("started", $number, $pid) if defined $pid;
  tell_owner("said", $number, unpack "H*", $@);
  tell_owner("ended", $number, 1, 0);
}

# Passes on what a process says. False when there is no more for now.
sub hear {
  my ($number, $process) = @_;
  my $got = sysread $process->{out}, my $text, READ_BYTES;
  tell_owner("said", $number, unpack "H*", $text) if $got;
  delete $process->{out} if defined $got && $got == 0;
  return $got;
}

sub bury {
  sysread $ends, my $told, READ_BYTES;
  while ((my $pid = waitpid -1, WNOHANG) > 0) {
    my ($code, $signal) = ($? >> 8, $? & 127);
    my $number = delete $number_of{$pid} // next;
    my $process = delete $processes{$number};
    1 while $process->{out} && hear($number, $process);
    tell_owner("ended", $number, $code, $signal);
  }
}

sub pass_on {
  my ($process, $text) = @_;
  while ($text ne "" && $process->{in}) {
    my $sent = syswrite $process->{in}, $text;
    if (defined $sent) { substr($text, 0, $sent) = "" }
    else { delete $process->{in} } # Its end tells more.
  }
}

sub obey {
  my ($verb, $number, @words) = @_;
  my $other = $verb eq "start-with" ? shift @words : undef;
  return start($number, $other, map { pack "H*", $_ } @words) if $verb =~ /^start/;
  my $process = $processes{$number} // return; # It has ended meanwhile.
  if ($verb eq "write") { pass_on($process, pack "H*", $words[0]) }
  elsif ($verb eq "close") { delete $process->{in} }
  elsif ($verb eq "kill") { kill "KILL", $process->{pid} }
  else { die "what is $verb?\n" }
}

# What the scripts tie their processes' lives to.
our $zygote = $$;
my ($owner) = @ARGV;
$SIG{PIPE} = "IGNORE";
name_process($0);
syscall(SYS_PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 or die "parent-death signal: $!\n";
exit 1 if getppid != $owner; # It died before that was asked for.
mask_ends(SIG_BLOCK);
my $descriptor = syscall SYS_SIGNALFD4, -1, my $set = $ends_of_children, 8, SFD_NONBLOCK | SFD_CLOEXEC;
die "signalfd: $!\n" if $descriptor < 0;
open $ends, "<&=", $descriptor or die "signalfd: $!\n";

my $unread = "";
while (1) {
  my $readable = "";
  vec($readable, fileno $_, 1) = 1 for *STDIN, $ends, map { $_->{out} // () } values %processes;
  next if select($readable, undef, undef, undef) < 0;
  for my $number (keys %processes) {
    my $out = $processes{$number}{out} // next;
    hear($number, $processes{$number}) if vec $readable, fileno $out, 1;
  }
  bury() if vec $readable, fileno $ends, 1;
  next unless vec $readable, fileno STDIN, 1;
  sysread STDIN, $unread, READ_BYTES, length $unread or exit 0; # Nobody needs it.
  while ((my $end = index $unread, "\n") >= 0) {
    obey(split / /, substr($unread, 0, $end), -1);
    substr($unread, 0, $end + 1) = "";
  }
  die "an endless line\n" if length $unread > LONGEST_LINE;
}
