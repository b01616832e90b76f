# A guest's link: a tap device in a network namespace of its own, which has nothing else, and a Unix socket where the network server finds it as
# it finds QEMU's: Ethernet frames, each after its length in 4 bytes. Forked by zygote.pl ahead of the VM; taps.ts tells it:
#
#                           ready                the device is there
#     take UID DIRECTORY    ok|error MESSAGE     it is the user's; there is DIRECTORY/network
#
# It ends with its input, which the VMM has open in the end: device and namespace go with the two of them, however those end. What guests send
# is passed on as it is: who looks at it is the network server.
package Tap;
use strict;
use warnings;
use Errno qw(EAGAIN EINTR ENOBUFS);
use Fcntl qw(O_RDWR O_NONBLOCK F_SETFL);
use Socket qw(AF_UNIX SOCK_STREAM SOL_SOCKET pack_sockaddr_un);

use constant {
  TUNSETIFF => 0x400454ca, TUNSETPERSIST => 0x400454cb, TUNSETOWNER => 0x400454cc, TAP_NO_PI_VNET_HDR => 0x5002,
  SIOCGIFFLAGS => 0x8913, SIOCSIFFLAGS => 0x8914, SIOCSIFMTU => 0x8922, SIOCGIFINDEX => 0x8933, UP => 1,
  SYS_UNSHARE => 272, CLONE_NEWNET => 0x40000000,
  AF_PACKET => 17, SOCK_RAW => 3, EVERY_PROTOCOL => 3, OUTGOING => 4, SO_RCVBUFFORCE => 33,
};
use constant DEVICE => "tap0";
# Largest packet on the link, as the guest's card says: that of QEMU's.
use constant MTU => 15360;
use constant { READ_BYTES => 262144, FRAMES_AT_ONCE => 256, MAX_FRAME => 4096 + 65536 };
# What is held for whoever does not take it: from there on nothing more is read.
use constant HELD_BYTES => 1048576;
# What the kernel holds of frames that a guest sends at once, in bytes.
use constant BURST_BYTES => 4194304;

sub nonblocking { fcntl $_[0], F_SETFL, O_RDWR | O_NONBLOCK or die "fcntl: $!\n"; return $_[0] }

sub request {
  my ($socket, $number, $format, @values) = @_;
  my $request = pack "a16 $format x24", DEVICE, @values;
  ioctl $socket, $number, $request or die "cannot set up a tap device: $!\n";
  return unpack "x16 $format", $request;
}

sub make_device {
  syscall(SYS_UNSHARE, CLONE_NEWNET) == 0 or die "no network namespace: $!\n";
  if (open my $disable, ">", "/proc/sys/net/ipv6/conf/default/disable_ipv6") { syswrite $disable, "1" }
  sysopen my $tun, "/dev/net/tun", O_RDWR or die "/dev/net/tun: $!\n";
  request($tun, TUNSETIFF, "S", TAP_NO_PI_VNET_HDR);
  socket my $packets, AF_PACKET, SOCK_RAW, unpack "S", pack "n", EVERY_PROTOCOL or die "no packet socket: $!\n";
  my ($index) = request($packets, SIOCGIFINDEX, "i", 0);
  request($packets, SIOCSIFMTU, "i", MTU);
  my ($flags) = request($packets, SIOCGIFFLAGS, "S", 0);
  request($packets, SIOCSIFFLAGS, "S", $flags | UP);
  bind $packets, pack "S n i S C C a8", AF_PACKET, EVERY_PROTOCOL, $index, 0, 0, 0, "" or die "bind: $!\n";
  setsockopt $packets, SOL_SOCKET, SO_RCVBUFFORCE, pack "i", BURST_BYTES or die "setsockopt: $!\n";
  return ($tun, nonblocking($packets));
}

# Makes the device a user's, and what a VM's folder has of it; gives up all rights of its own.
sub take {
  my ($tun, $uid, $directory) = @_;
  ioctl $tun, TUNSETOWNER, 0 + $uid or die "cannot give a tap device away: $!\n";
  ioctl $tun, TUNSETPERSIST, 1 or die "cannot keep a tap device: $!\n";
  close $tun; # One process at a time may have it.
  socket my $listener, AF_UNIX, SOCK_STREAM, 0 or die "socket: $!\n";
  umask 077;
  bind $listener, pack_sockaddr_un("$directory/network") or die "$directory/network: $!\n";
  listen $listener, 1 or die "listen: $!\n";
  ($(, $)) = ($uid, "$uid $uid");
  ($<, $>) = ($uid, $uid);
  die "cannot become the user $uid: $!\n" if $> != $uid || $< != $uid;
  return nonblocking($listener);
}

# Frames of the guest, as the network server reads them.
sub read_frames {
  my ($packets) = @_;
  my $frames = "";
  for (1 .. FRAMES_AT_ONCE) {
    my $from = recv $packets, my $frame, MAX_FRAME, 0;
    last unless defined $from;
    next if unpack("x10 C", $from) == OUTGOING;
    $frames .= pack "N/a*", $frame;
  }
  return $frames;
}

# Sends the whole frames in $$bytes and takes them out. False when the device takes no more.
sub send_frames {
  my ($packets, $bytes) = @_;
  my $at = 0;
  my $is_taken = 1;
  while (length $$bytes >= $at + 4) {
    my $length = unpack "x$at N", $$bytes;
    die "not a frame\n" if $length > MAX_FRAME;
    last if length $$bytes < $at + 4 + $length;
    # What it does not want for another reason is lost, as on any link.
    if (!defined send $packets, substr($$bytes, $at + 4, $length), 0) {
      $is_taken = !($! == EAGAIN || $! == ENOBUFS);
      last unless $is_taken;
    }
    $at += 4 + $length;
  }
  substr($$bytes, 0, $at) = "";
  return $is_taken;
}

sub serve {
  my ($packets, $listener) = @_;
  my ($server, $to_server, $to_guest, $is_taken) = (undef, "", "", 1);
  my $hang_up = sub { ($server, $to_server, $to_guest, $is_taken) = (undef, "", "", 1) };
  while (1) {
    my ($in, $out) = ("", "");
    vec($in, fileno $_, 1) = 1 for *STDIN, $listener;
    vec($in, fileno $packets, 1) = 1 if length $to_server < HELD_BYTES;
    vec($out, fileno $packets, 1) = 1 if !$is_taken;
    vec($in, fileno $server, 1) = 1 if $server && $is_taken;
    vec($out, fileno $server, 1) = 1 if $server && $to_server ne "";
    next if select($in, $out, undef, undef) < 0;
    return if vec($in, fileno STDIN, 1) && !sysread STDIN, my $nothing, 1;
    if (vec $in, fileno $packets, 1) {
      my $frames = read_frames($packets);
      $to_server .= $frames if $server; # Without one they are lost: nobody is on the link.
    }
    if ($server && vec $in, fileno $server, 1) {
      my $got = sysread $server, $to_guest, READ_BYTES, length $to_guest;
      if (!$got && !(!defined $got && ($! == EAGAIN || $! == EINTR))) { $hang_up->(); next }
    }
    if ($to_guest ne "" && !eval { $is_taken = send_frames($packets, \$to_guest); 1 }) { $hang_up->(); next }
    if ($server && $to_server ne "") {
      my $sent = syswrite $server, $to_server;
      if (defined $sent) { substr($to_server, 0, $sent) = "" }
      elsif ($! != EAGAIN && $! != EINTR) { $hang_up->(); next }
    }
    if (vec $in, fileno $listener, 1) {
      accept my $next, $listener or next;
      $hang_up->(); # Whoever comes now replaces one that is gone.
      $server = nonblocking($next);
    }
  }
}

sub main {
  $SIG{PIPE} = "IGNORE";
  my ($tun, $packets) = eval { make_device() };
  if ($@) {
    syswrite STDOUT, "error $@";
    exit 1;
  }
  syswrite STDOUT, "ready\n";
  my $line = <STDIN> // exit 0;
  my ($verb, $uid, $directory) = map { s/%([0-9A-F]{2})/chr hex $1/ger } split / /, $line =~ s/\n//r;
  exit 1 if ($verb // "") ne "take" || !defined $directory;
  my $listener = eval { take($tun, $uid, $directory) };
  if ($@) {
    syswrite STDOUT, "error $@";
    exit 1;
  }
  undef $tun;
  syswrite STDOUT, "ok\n";
  serve($packets, $listener);
  exit 0;
}

\&main;
