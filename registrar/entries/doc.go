// Package entries keeps SPIRE at what the cluster needs: every replica watches pods and what pods are made of, and the leading one
// runs the registrar's reconciler on what they need. Deciding is left to packages webhook and registrar.
package entries
