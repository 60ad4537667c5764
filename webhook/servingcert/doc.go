// Package servingcert presents to the API server a serving certificate that it can verify, also while the certificate
// or its CA is being replaced.
//
// The certificate comes in a Secret; what the API server trusts is the caBundle of the webhook configurations.
// Nothing changes both at once, and each replica and each API server sees a change at a time of its own. So there are
// two rules: a [Rotator] adds a new CA beside the old one and takes the old one away later, and a [Certificate]
// presents a new leaf only when the API servers have had time to learn its CA.
package servingcert
