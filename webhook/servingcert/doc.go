// Package servingcert presents to the API server a serving certificate that it can verify, also while the certificate
// or its CA is being replaced.
//
// The certificate comes in a Secret, or from SPIRE; what the API server trusts is the caBundle of the webhook
// configurations. Nothing changes both at once, and each replica and each API server sees a change at a time of its
// own. So there are two rules: whoever replaces a CA has it beside the old one for a time, and a [Certificate] presents
// a new leaf only when the API servers have had time to learn its CA.
//
// Who may write a caBundle may also have every object of the cluster sent here, and changed: it is as good as
// cluster-admin. So [Issue] does it once with the rights of whoever installs. A [Rotator] does it all the time, with the
// injector's own.
package servingcert
