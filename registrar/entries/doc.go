// Package entries is the controller of registration entries: every replica watches pods and what pods are made of, and
// the leading one runs the registrar's reconciler on what they need. What an object needs is decided by the functions
// in [Rules].
package entries
