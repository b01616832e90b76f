/**
 * Installs a seccomp filter by which madvise(MADV_HUGEPAGE) fails, and becomes another program. QEMU gives that advice for all of its memory;
 * Linux then reads 2 MiB around every page that is touched, where the file would have to be fetched for it.
 *
 *     load the call's number; not madvise (28)? allow
 *     load its third argument; not MADV_HUGEPAGE (14)? allow
 *     fail with EINVAL
 *
 * Perl is on every Debian and Ubuntu system, and nothing smaller there can install a filter.
 */
const SCRIPT = [
  'my $filter = join "", map { pack "SCCL", @$_ }',
  "[0x20, 0, 0, 0], [0x15, 0, 3, 28], [0x20, 0, 0, 32], [0x15, 0, 1, 14], [0x06, 0, 0, 0x50016], [0x06, 0, 0, 0x7fff0000];",
  'my $program = pack "Sx6P", 6, $filter;',
  "syscall(157, 38, 1, 0, 0, 0); syscall(317, 1, 0, $program);", // no_new_privs, seccomp
  "exec { $ARGV[0] } @ARGV",
].join(" ");

/** Command words that start `binary` without large pages; itself where there is no Perl. */
export function withSmallPages(
  perl: string | undefined,
  binary: string,
  args: readonly string[],
): [string, string[]] {
  return perl === undefined ? [binary, [...args]] : [perl, ["-e", SCRIPT, "--", binary, ...args]];
}
