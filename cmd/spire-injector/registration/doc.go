// Package registration lets one replica keep SPIRE at what the cluster needs: it watches pods and what pods are made of, and
// runs the registrar's reconciler on what they need. Deciding is left to packages webhook and registrar.
package registration
