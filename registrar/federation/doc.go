// Package federation lets one replica keep SPIRE's federation relationships at what the platform file says, and has
// SPIRE fetch the bundles at the intervals given there: SPIRE itself waits for months where a bundle has long-lived
// authorities and no refresh hint.
package federation
