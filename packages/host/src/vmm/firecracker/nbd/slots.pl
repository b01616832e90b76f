#!/usr/bin/perl
# Connects /dev/nbdX to NBD exports on Unix sockets, by generic netlink (linux/nbd-netlink.h), which Node.js has no calls for. Perl is on
# every Debian and Ubuntu system. Started by slots.ts; reads one request a line, answers each with one line, and ends with its input:
#
#     ID attach BACKEND SOCKET EXPORT UID   ID ok SLOT
#     ID adopt SLOT BACKEND SOCKET EXPORT   ID ok
#     ID bind SLOT                          ID ok      from now on it is disconnected when nobody has it open any more
#     ID detach SLOT BACKEND                ID ok      when the kernel has let go of it
#     ID free SLOT BACKEND                  ID ok      the same of one that a process which is gone has left
#     ID sweep                              ID ok      when no node of a slot that nobody has is left
#                                           ID error busy|kernel MESSAGE
#
# Words are percent-encoded. Of each slot in its care it holds a lock for the whole host; a server that went away is connected to again. The
# kernel keeps a slot connected when this process ends, until its VM ends.
use strict;
use warnings;
use Errno qw(EAGAIN);
use Fcntl qw(:flock);
use Socket qw(AF_UNIX SOCK_STREAM pack_sockaddr_un);

use constant {
  AF_NETLINK => 16, SOCK_RAW => 3, NETLINK_GENERIC => 16, SOL_NETLINK => 270, ADD_MEMBERSHIP => 1,
  REQUEST_ACK => 5, ERROR => 2, CONTROLLER => 16, GET_FAMILY => 3,
  FAMILY_ID => 1, FAMILY_NAME => 2, GROUPS => 7, GROUP_ID => 2,
  CONNECT => 1, DISCONNECT => 2, RECONFIGURE => 3, LINK_DEAD => 4,
  INDEX => 1, SIZE => 2, BLOCK_SIZE => 3, SERVER_FLAGS => 5, CLIENT_FLAGS => 6, SOCKETS => 7, DEAD_TIMEOUT => 8, BACKEND => 10,
  NESTED => 0x8000, DISCONNECT_ON_CLOSE => 2,
  SYS_MKNOD => 133, BLOCK_DEVICE => 060600,
};
# Seconds that the kernel lets requests wait for a server that went away: as long as QEMU does.
use constant RECONNECT_SECONDS => 30;
use constant RECONNECT_EVERY_SECONDS => 0.05;
# After how long the kernel looks at a request that has no answer, in milliseconds: one that went to a server which is gone is sent again then.
use constant LOOK_AT_REQUEST_MS => 5000;
# Seconds for a negotiation, and for the kernel to let go of a slot. sysfs tells of nothing: it has to be looked at.
use constant { NEGOTIATION_SECONDS => 10, RELEASE_SECONDS => 30, LOOK_AGAIN_SECONDS => 0.002 };
use constant { LOCKS => "/run/kiln-nbd", NODES => "/dev/kiln" };

# SLOT => { lock, backend, socket, export, until }; until: when trying to reach its server again ends.
my %slots;
my ($family, $netlink, $sequence);

sub attribute {
  my ($type, $data) = @_;
  my $length = 4 + length $data;
  return pack("SS", $length, $type) . $data . "\0" x (-$length % 4);
}

# The attributes in $bytes, by their type; of several of one type the last.
sub attributes {
  my ($bytes) = @_;
  my %found;
  while (length $bytes >= 4) {
    my ($length, $type) = unpack "SS", $bytes;
    last if $length < 4 || $length > length $bytes;
    $found{$type & 0x3fff} = substr $bytes, 4, $length - 4;
    my $step = $length + (-$length % 4);
    $bytes = $step < length $bytes ? substr($bytes, $step) : "";
  }
  return \%found;
}

sub open_netlink {
  socket(my $socket, AF_NETLINK, SOCK_RAW, NETLINK_GENERIC) or die "no netlink: $!\n";
  bind $socket, pack("SSLL", AF_NETLINK, 0, 0, 0) or die "no netlink: $!\n";
  return $socket;
}

# Sends a command and waits for its end. Returns the attributes of what was answered before that.
sub call {
  my ($to, $command, $attributes) = @_;
  my $body = pack("CCS", $command, 1, 0) . $attributes;
  send $netlink, pack("LSSLL", 16 + length $body, $to, REQUEST_ACK, ++$sequence, 0) . $body, 0 or die "kernel netlink: $!\n";
  my $answer = {};
  while (1) {
    defined recv $netlink, my $bytes, 65536, 0 or die "kernel netlink: $!\n";
    while (length $bytes >= 16) {
      my ($length, $type, undef, $of) = unpack "LSSL", $bytes;
      last if $length < 16 || $length > length $bytes;
      if ($of == $sequence && $type == ERROR) {
        my $errno = -unpack "l", substr $bytes, 16, 4;
        return $answer if $errno == 0;
        local $! = $errno;
        die "kernel $!\n";
      }
      $answer = attributes(substr $bytes, 20, $length - 20) if $of == $sequence;
      $bytes = substr $bytes, $length + (-$length % 4) < length $bytes ? $length + (-$length % 4) : length $bytes;
    }
  }
}

sub read_exactly {
  my ($socket, $count) = @_;
  my $bytes = "";
  while (length $bytes < $count) {
    my $got = sysread $socket, $bytes, $count - length $bytes, length $bytes;
    die "kernel the block server hung up\n" unless $got;
  }
  return $bytes;
}

# A connection to an export, in transmission; its size and flags.
sub negotiate {
  my ($path, $export) = @_;
  socket(my $socket, AF_UNIX, SOCK_STREAM, 0) or die "kernel socket: $!\n";
  local $SIG{ALRM} = sub { die "kernel the block server does not answer\n" };
  alarm NEGOTIATION_SECONDS;
  my ($size, $flags) = eval {
    connect $socket, pack_sockaddr_un($path) or die "kernel cannot reach the block server: $!\n";
    my ($magic, $option) = unpack "a8a8", read_exactly($socket, 18);
    die "kernel not an NBD server\n" if $magic ne "NBDMAGIC" || $option ne "IHAVEOPT";
    my $name = pack("N/a* n", $export, 0);
    syswrite $socket, pack("N a8 N N/a*", 3, "IHAVEOPT", 7, $name); # fixed newstyle, no zeroes; NBD_OPT_GO
    my @info;
    while (1) {
      my (undef, undef, $type, $length) = unpack "a8NNN", read_exactly($socket, 20);
      my $data = $length > 0 ? read_exactly($socket, $length) : "";
      return @info if $type == 1;
      die "kernel the block server refused the export: $data\n" if $type & 0x80000000;
      @info = unpack "x2 Q> n", $data if $type == 3 && unpack("n", $data) == 0; # NBD_INFO_EXPORT
    }
  };
  my $error = $@;
  alarm 0;
  die $error if $error;
  return ($socket, $size, $flags);
}

sub look {
  my ($slot, $name) = @_;
  open my $file, "<", "/sys/block/nbd$slot/$name" or return "";
  my $text = <$file> // "";
  chomp $text;
  return $text;
}

# Whether the kernel has let go of a slot: nobody serves it, and nobody uses what was on it.
sub is_free {
  my ($slot) = @_;
  my @holders = glob "/sys/block/nbd$slot/holders/*";
  return !-e "/sys/block/nbd$slot/pid" && look($slot, "size") eq "0" && look($slot, "inflight") =~ /^\s*0\s+0$/ && !@holders;
}

sub lock_slot {
  my ($slot) = @_;
  mkdir LOCKS, 0700;
  open my $lock, ">>", LOCKS . "/$slot" or die "kernel cannot lock a slot: $!\n";
  return flock($lock, LOCK_EX | LOCK_NB) ? $lock : undef;
}

sub sockets_attribute {
  my ($socket) = @_;
  return attribute(SOCKETS | NESTED, attribute(1 | NESTED, attribute(1, pack "L", fileno $socket)));
}

# A node of its own, which the host's device manager does not know of: it would give it back to root at any time.
sub make_node {
  my ($slot, $uid) = @_;
  my ($major, $minor) = split /:/, look($slot, "dev");
  my $path = NODES . "/nbd$slot";
  mkdir NODES, 0700;
  unlink $path;
  my $device = ($minor & 0xff) | ($major << 8) | (($minor & ~0xff) << 12);
  syscall(SYS_MKNOD, $path, BLOCK_DEVICE, $device) == 0 or die "kernel cannot make $path: $!\n";
  chown $uid, $uid, $path or die "kernel chown of $path: $!\n";
}

sub attach {
  my ($backend, $path, $export, $uid) = @_;
  my ($socket, $size, $flags) = negotiate($path, $export);
  for (my $slot = 0; -e "/sys/block/nbd$slot"; $slot++) {
    next if $slots{$slot} || !is_free($slot);
    my $lock = lock_slot($slot) or next;
    next unless is_free($slot);
    my $fixed = attribute(INDEX, pack "L", $slot) . attribute(SIZE, pack "Q", $size) . attribute(BLOCK_SIZE, pack "Q", 4096)
      . attribute(SERVER_FLAGS, pack "Q", $flags) . attribute(DEAD_TIMEOUT, pack "Q", RECONNECT_SECONDS)
      . attribute(BACKEND, "$backend\0") . sockets_attribute($socket);
    if (!eval { call($family, CONNECT, $fixed) }) {
      next if $@ =~ /busy/i; # Somebody who takes no lock was faster.
      die $@;
    }
    $slots{$slot} = { lock => $lock, backend => $backend, socket => $path, export => $export };
    if (open my $file, ">", "/sys/block/nbd$slot/queue/io_timeout") { syswrite $file, LOOK_AT_REQUEST_MS }
    make_node($slot, $uid);
    return $slot;
  }
  die "busy no slot is free\n";
}

sub adopt {
  my ($slot, $backend, $path, $export) = @_;
  return "" if $slots{$slot} && $slots{$slot}{backend} eq $backend; # It was let go of in this process.
  die "busy another process has it\n" if $slots{$slot};
  my $lock = lock_slot($slot) // die "busy another process has it\n";
  die "kernel it is not connected any more\n" if look($slot, "backend") ne $backend;
  $slots{$slot} = { lock => $lock, backend => $backend, socket => $path, export => $export };
  # Its server may have gone while nobody looked, and the next one may not be there yet; a connection that works is not replaced.
  $slots{$slot}{until} = time + RECONNECT_SECONDS unless reconnect($slot);
  return "";
}

sub reconfigure {
  my ($slot, $more) = @_;
  call($family, RECONFIGURE, attribute(INDEX, pack "L", $slot) . attribute(BACKEND, "$slots{$slot}{backend}\0") . $more);
}

sub bind_slot {
  my ($slot) = @_;
  reconfigure($slot, attribute(CLIENT_FLAGS, pack "Q", DISCONNECT_ON_CLOSE));
  return "";
}

sub reconnect {
  my ($slot) = @_;
  return eval {
    my ($socket) = negotiate($slots{$slot}{socket}, $slots{$slot}{export});
    reconfigure($slot, sockets_attribute($socket));
    1;
  };
}

sub detach {
  my ($slot, $backend) = @_;
  if (!$slots{$slot} || $slots{$slot}{backend} ne $backend) {
    # An earlier helper had it, which was killed. Whoever has it now has it because the kernel had let go of it.
    return "" if $slots{$slot};
    my $lock = lock_slot($slot) // return "";
    return "" if !is_free($slot) && look($slot, "backend") ne $backend;
    $slots{$slot} = { lock => $lock, backend => $backend };
  }
  return disconnect($slot);
}

sub disconnect {
  my ($slot) = @_;
  # One that is bound may be disconnected already.
  eval { call($family, DISCONNECT, attribute(INDEX, pack "L", $slot)) } if look($slot, "pid") ne "";
  my $until = time + RELEASE_SECONDS;
  until (is_free($slot)) {
    die "busy the kernel does not let go of it\n" if time > $until;
    select undef, undef, undef, LOOK_AGAIN_SECONDS;
  }
  unlink NODES . "/nbd$slot";
  delete $slots{$slot};
  return "";
}

sub free_slot {
  my ($slot, $backend) = @_;
  die "busy it is in use\n" if $slots{$slot};
  my $lock = lock_slot($slot) // die "busy it is in use\n";
  return "" if look($slot, "backend") ne $backend;
  $slots{$slot} = { lock => $lock, backend => $backend };
  return disconnect($slot);
}

# Removes nodes of slots that nobody has: of processes that were killed.
sub sweep_nodes {
  for my $path (glob NODES . "/nbd*") {
    my ($slot) = $path =~ /(\d+)$/ or next;
    my $lock = lock_slot($slot) or next;
    unlink $path if is_free($slot);
  }
  return "";
}

my %requests = (free => \&free_slot, sweep => \&sweep_nodes, attach => \&attach, adopt => \&adopt, bind => \&bind_slot, detach => \&detach);

sub answer {
  my ($id, $name, @words) = map { s/%([0-9A-F]{2})/chr hex $1/ger } split / /, shift;
  my $result = eval { $requests{$name}->(@words) };
  my $error = $@;
  chomp $error;
  syswrite STDOUT, $error eq "" ? "$id ok $result\n" : "$id error $error\n";
}

$SIG{PIPE} = "IGNORE";
$netlink = open_netlink();
$sequence = 0;
my $nbd = eval { call(CONTROLLER, GET_FAMILY, attribute(FAMILY_NAME, "nbd\0")) };
if (!$nbd) {
  syswrite STDOUT, "absent\n";
  exit 1;
}
$family = unpack "S", $nbd->{+FAMILY_ID};
my $group = unpack "L", attributes((values %{attributes($nbd->{+GROUPS})})[0])->{+GROUP_ID};
my $events = open_netlink();
setsockopt $events, SOL_NETLINK, ADD_MEMBERSHIP, pack "L", $group or die "no news of dead links: $!\n";
syswrite STDOUT, "ready\n";
sweep_nodes();

my $input = "";
while (1) {
  my @lost = grep { defined $slots{$_}{until} } keys %slots;
  my $waiting = "";
  vec($waiting, fileno STDIN, 1) = 1;
  vec($waiting, fileno $events, 1) = 1;
  select $waiting, undef, undef, @lost ? RECONNECT_EVERY_SECONDS : undef;
  if (vec $waiting, fileno $events, 1) {
    recv $events, my $bytes, 65536, 0;
    my ($command) = unpack "x16C", $bytes;
    my $slot = $command == LINK_DEAD ? unpack("L", attributes(substr $bytes, 20)->{+INDEX} // "") : undef;
    push @lost, $slot if defined $slot && $slots{$slot};
    $slots{$slot}{until} //= time + RECONNECT_SECONDS if defined $slot && $slots{$slot};
  }
  for my $slot (@lost) {
    delete $slots{$slot}{until} if reconnect($slot) || time > $slots{$slot}{until};
  }
  if (vec $waiting, fileno STDIN, 1) {
    my $got = sysread STDIN, $input, 65536, length $input;
    exit 0 unless $got;
    answer($1) while $input =~ s/^(.*)\n//;
  }
}
