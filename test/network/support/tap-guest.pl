# Stands in for Firecracker and its guest, as the user UID, in the network namespace it is started in: takes the tap device, asks who has
# 10.0.2.2, prints the answer in hexadecimal, and stays until it is killed. `perl tap-guest.pl UID`
use strict;
use warnings;
my ($uid) = @ARGV;
open my $tun, "+<", "/dev/net/tun" or die "/dev/net/tun: $!\n";
($(, $)) = ($uid, "$uid $uid");
($<, $>) = ($uid, $uid);
my $request = pack "a16 S x22", "tap0", 0x5002; # TAP, NO_PI, VNET_HDR
ioctl $tun, 0x400454ca, $request or die "TUNSETIFF: $!\n";
my $mac = "\x02\x4bkln\x02";
my $arp = pack "n n C C n a6 a4 a6 a4", 1, 0x0800, 6, 4, 1, $mac, "\x0a\x00\x02\x0f", "", "\x0a\x00\x02\x02";
local $SIG{ALRM} = sub { die "no answer\n" };
alarm 20;
while (1) {
  # Lost while nobody serves the link.
  syswrite $tun, "\0" x 10 . "\xff" x 6 . $mac . pack("n", 0x0806) . $arp;
  my $ready = "";
  vec($ready, fileno $tun, 1) = 1;
  next if select($ready, undef, undef, 0.1) < 1;
  sysread $tun, my $frame, 65536;
  $frame = substr $frame, 10;
  next if substr($frame, 12, 2) ne "\x08\x06";
  alarm 0;
  syswrite STDOUT, unpack("H*", $frame) . "\n";
  last;
}
sleep;
