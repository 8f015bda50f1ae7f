# Sends a text by a datagram socket that is open already: DESCRIPTOR ADDRESS PORT TEXT. Prints the errno, 0 if nothing failed.
use strict;
use warnings;
use Socket;

my ($descriptor, $address, $port, $text) = @ARGV;
open(my $s, '+<&=', $descriptor) or die;
my $sent = send($s, $text, 0, pack_sockaddr_in($port, inet_aton($address)));
print defined $sent ? 0 : $! + 0, "\n";
