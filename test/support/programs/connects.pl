# Connects to an address and sends a text: ADDRESS PORT TEXT. Prints the errno, 0 if nothing failed.
use strict;
use warnings;
use Socket;

my ($address, $port, $text) = @ARGV;
socket(my $s, PF_INET, SOCK_STREAM, 0) or die;
my $done = connect($s, pack_sockaddr_in($port, inet_aton($address)));
print $done ? 0 : $! + 0, "\n";
syswrite($s, $text) if $done;
