// Package clientcert has the webhook answer nobody but holders of a client certificate. An AdmissionReview is what its
// sender says: without this, whoever reaches the port can speak in the API server's name.
package clientcert
