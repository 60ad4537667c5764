// Package ir is the model of a proxy: what one Envoy is meant to do, in the words of the annotations and apart from
// Envoy's own messages, which package templates makes of it.
//
// [Proxy.Validate] has the only rules of the model. A [Problem] names the field by its path, and the rule by its
// [Code], so that whoever filled the model in can say which of its own fields is meant.
package ir
