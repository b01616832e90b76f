# Becomes a VMM that is locked up. Namespaces, and what every VMM sees, are made as soon as it starts, ahead of the VM; the rest when it is told to.
# Node.js has no calls for any of this, the programs that have would be six, each becoming the next, and Perl is on every Debian and Ubuntu
# system. Forked by zygote.pl with the words
#
#     VIEW [NAMESPACE]
#
# VIEW: a folder that may be covered by what the VMM sees, in its own mount namespace only, or "" if it sees what its owner sees. NAMESPACE: the
# network namespace it is to be in; one of its own without. It says "ready", and then reads lines of percent-encoded words:
#
#     show file|directory SOURCE TARGET   what it sees of the host
#     user UID GID                        what it runs as
#     limit RESOURCE VALUE                a resource limit, by its number in <asm-generic/resource.h>
#     error PATH                          what its standard error is appended to
#     output PATH                         what its standard output is written to
#     input PATH                          what its descriptor 3 reads
#     variable NAME VALUE                 a variable of its environment, which is empty else
#     small-pages                         the host's kernel gives it no large pages
#     outlive                             it does not die with the zygote
#     become PROGRAM ARGUMENT ...         the last line
#
# What goes wrong is told on standard error, in one line.
package Launcher;
use strict;
use warnings;

# Of x86_64: <asm/unistd_64.h>.
use constant {
  SYS_DUP2 => 33, SYS_SETGROUPS => 116, SYS_SETRESUID => 117, SYS_SETRESGID => 119, SYS_CAPGET => 125, SYS_CAPSET => 126, SYS_PRCTL => 157,
  SYS_MOUNT => 165, SYS_UNSHARE => 272, SYS_PRLIMIT => 302, SYS_SETNS => 308, SYS_SECCOMP => 317,
};
use constant { NEW_MOUNTS => 0x20000, NEW_UTS => 0x4000000, NEW_IPC => 0x8000000, NEW_USER => 0x10000000, NEW_NETWORK => 0x40000000 };
use constant { MS_RDONLY => 1, MS_NOSUID => 2, MS_REMOUNT => 32, MS_BIND => 4096, MS_REC => 16384, MS_SLAVE => 524288 };
use constant { PR_SET_PDEATHSIG => 1, PR_CAPBSET_DROP => 24, PR_SET_NO_NEW_PRIVS => 38, SIGKILL => 9, CAPABILITY_VERSION => 0x20080522 };
use constant { LONGEST_REQUEST => 1048576 };

my @always = ([directory => "/usr", "/usr"], map { [file => $_, $_] } "/etc/ld.so.cache", "/dev/null", "/dev/urandom");

# With copies of the arguments: perl wants to be able to write to them.
sub call {
  my ($what, $number, @arguments) = @_;
  die "$what: $!\n" if syscall($number, @arguments) < 0;
}

# The owner may have died before this was asked for.
sub die_with {
  my ($owner) = @_;
  call("parent-death signal", SYS_PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  exit 1 if getppid != $owner;
}

sub put {
  my ($path, $text) = @_;
  open my $file, ">", $path or die "$path: $!\n";
  syswrite $file, $text or die "$path: $!\n";
}

sub enter_namespaces {
  my ($network) = @_;
  if (defined $network) {
    open my $namespace, "<", $network or die "$network: $!\n";
    call("network namespace", SYS_SETNS, fileno $namespace, NEW_NETWORK);
  }
  my ($uid, $gid) = ($>, 0 + $));
  my $flags = NEW_MOUNTS | NEW_UTS | NEW_IPC | (defined $network ? 0 : NEW_NETWORK);
  $flags |= NEW_USER if $uid != 0;
  call("unshare", SYS_UNSHARE, $flags);
  if ($uid != 0) {
    put("/proc/self/setgroups", "deny");
    put("/proc/self/uid_map", "0 $uid 1");
    put("/proc/self/gid_map", "0 $gid 1");
  }
  # What the host mounts from now on is there as well, and nothing that is mounted here is there.
  call("mount namespace", SYS_MOUNT, "none", "/", "none", MS_REC | MS_SLAVE, 0);
}

sub show {
  my ($view, $kind, $source, $target) = @_;
  my $place = $view;
  my @folders = split m{/}, substr $target, 1;
  my $name = pop @folders;
  mkdir $place .= "/$_" for @folders;
  $place .= "/$name";
  if ($kind eq "directory") { mkdir $place or die "$place: $!\n" }
  else { open my $file, ">", $place or die "$place: $!\n" }
  call("cannot show $source", SYS_MOUNT, $source, $place, "none", MS_BIND, 0);
}

sub make_view {
  my ($view) = @_;
  call("view", SYS_MOUNT, "kiln", $view, "tmpfs", MS_NOSUID, "mode=755,size=256k,nr_inodes=256");
  show($view, @$_) for @always;
  # Links into /usr, on every system of today.
  -l "/$_" and symlink "usr/$_", "$view/$_" for qw(bin sbin lib lib64);
}

sub limit {
  my ($resource, $value) = @_;
  call("limit $resource", SYS_PRLIMIT, 0, 0 + $resource, pack("QQ", $value, $value), 0);
}

# Nothing that is opened is closed again before the end: one of them may have the number already.
my @opened;

sub open_as {
  my ($number, $mode, $path) = @_;
  do {
    open my $file, $mode, $path or die "$path: $!\n";
    push @opened, $file;
  } until fileno $opened[-1] > 3; # What is opened here is closed when the VMM takes over, its copy is not.
  call($path, SYS_DUP2, fileno $opened[-1], $number);
}

# A user of its own. What it writes to already is its own as well.
sub become_user {
  my ($uid, $gid) = @_;
  chown $uid, $gid, *STDERR if -f STDERR;
  call("groups", SYS_SETGROUPS, 0, 0);
  call("group", SYS_SETRESGID, 0 + $gid, 0 + $gid, 0 + $gid);
  call("user", SYS_SETRESUID, 0 + $uid, 0 + $uid, 0 + $uid);
}

# Whoever stays root in a user namespace, or on the host, has no rights as the VMM.
sub drop_capabilities {
  for my $capability (0 .. 63) {
    last if syscall(SYS_PRCTL, PR_CAPBSET_DROP, $capability, 0, 0, 0) < 0;
  }
  my $header = pack "LL", CAPABILITY_VERSION, 0;
  my $data = "\0" x 24;
  syscall(SYS_CAPGET, $header, $data) == 0 or die "capabilities: $!\n";
  my @sets = unpack "L6", $data;
  @sets[2, 5] = (0, 0); # Those that are inherited.
  call("capabilities", SYS_CAPSET, $header, pack "L6", @sets);
}

# A seccomp filter by which madvise(MADV_HUGEPAGE) fails. QEMU gives that advice for all of its memory; Linux then reads 2 MiB around every page
# that is touched, where the file would have to be fetched for it.
#
#     load the call's number; not madvise (28)? allow
#     load its third argument; not MADV_HUGEPAGE (14)? allow
#     fail with EINVAL
sub refuse_large_pages {
  my $filter = join "", map { pack "SCCL", @$_ }
    [0x20, 0, 0, 0], [0x15, 0, 3, 28], [0x20, 0, 0, 32], [0x15, 0, 1, 14], [0x06, 0, 0, 0x50016], [0x06, 0, 0, 0x7fff0000];
  call("system call filter", SYS_SECCOMP, 1, 0, pack "Sx6P", 6, $filter);
}

sub read_request {
  my $text = "";
  until ($text =~ /^become .*\n\z/m) {
    my $got = sysread STDIN, $text, 65536, length $text;
    exit 0 unless $got; # Nobody needs it.
    die "the request is too long\n" if length $text > LONGEST_REQUEST;
  }
  return map { [map { s/%([0-9A-F]{2})/chr hex $1/ger } split / /, $_, -1] } split /\n/, $text;
}

sub run {
  my ($view, $network) = @_;
  my $owner = $main::zygote;
  die_with($owner);
  if ($view ne "") {
    enter_namespaces($network);
    make_view($view);
  }
  syswrite STDOUT, "ready\n";

  my (%asked, %environment);
  for my $line (read_request()) {
    my ($verb, @words) = @$line;
    if ($verb eq "show" || $verb eq "limit") { push @{$asked{$verb}}, \@words }
    elsif ($verb eq "variable") { $environment{$words[0]} = $words[1] }
    else { $asked{$verb} = \@words }
  }
  umask 077;
  # First: whatever goes wrong from here on is looked for there.
  open_as(2, ">>", $asked{error}[0]) if $asked{error};
  open_as(1, ">", $asked{output} ? $asked{output}[0] : "/dev/null");
  open_as(3, "<", $asked{input}[0]) if $asked{input};
  open_as(0, "<", "/dev/null");
  umask 022;
  if ($view ne "") {
    show($view, @$_) for @{$asked{show} // []};
    call("view", SYS_MOUNT, "none", $view, "none", MS_REMOUNT | MS_BIND | MS_NOSUID | MS_RDONLY, 0);
    chroot $view or die "chroot: $!\n";
    chdir "/" or die "chdir: $!\n";
  }
  limit(@$_) for @{$asked{limit} // []};
  $SIG{XFSZ} = "IGNORE"; # A file that is at its limit is a write that fails, and no end.
  become_user(@{$asked{user}}) if $asked{user};
  drop_capabilities() if $view ne "" && !$asked{user};
  call("no new privileges", SYS_PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) if $view ne "" || $asked{"small-pages"};
  refuse_large_pages() if $asked{"small-pages"};
  # Becoming another user has ended the signal.
  if ($asked{outlive}) { call("parent-death signal", SYS_PRCTL, PR_SET_PDEATHSIG, 0, 0, 0, 0) }
  else { die_with($owner) }
  %ENV = %environment;
  my @words = @{$asked{become}};
  exec { $words[0] } @words or die "$words[0]: $!\n";
}

sub main {
  eval { run(@_) };
  print STDERR "locking it up failed: $@";
  exit 1;
}

\&main;
