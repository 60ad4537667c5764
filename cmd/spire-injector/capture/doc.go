// Package capture writes the rules of a pod's network by which TCP connections from outside come to Envoy, whatever
// port of the app they are for: one nftables table for IPv4 and IPv6, replaced as a whole or not at all.
//
// Connections by way of loopback stay as they are: between the pod's containers, to the pod's own address from inside,
// and those of kubectl port-forward. So do connections that the pod opens, but for those to names that lead to Envoy, and
// everything that is not TCP.
package capture
