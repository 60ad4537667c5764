package answers

import (
	"context"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// forwardProtocol is what kubectl port-forward speaks.
const forwardProtocol = "portforward.k8s.io"

// forwarded is a connection to a port on a pod's loopback.
type forwarded struct {
	httpstream.Stream // of the data

	of     httpstream.Connection
	errors httpstream.Stream
}

func (f forwarded) Close() error { return f.of.Close() }

// why is what the kubelet says of a connection that failed.
func (f forwarded) why() string {
	text, err := io.ReadAll(io.LimitReader(f.errors, mostAnswer))
	if err != nil {
		return ""
	}
	return string(text)
}

// forward connects to a port of a pod from within the pod.
func (e Envoys) forward(ctx context.Context, pod Pod, port uint16) (forwarded, error) {
	transport, upgrader, err := spdy.RoundTripperFor(e.config) // each is of one connection
	if err != nil {
		return forwarded{}, err
	}
	at := e.core.RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("portforward").URL()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return forwarded{}, err
	}
	connection, _, err := spdy.NegotiateStreaming(upgrader, &http.Client{Transport: transport}, request, forwardProtocol)
	if err != nil {
		return forwarded{}, err
	}
	f := forwarded{of: connection}
	headers := http.Header{}
	headers.Set(corev1.PortHeader, fmt.Sprint(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	if f.errors, err = connection.CreateStream(headers); err == nil {
		_ = f.errors.Close() // our half: nothing is written to it
		headers.Set(corev1.StreamType, corev1.StreamTypeData)
		f.Stream, err = connection.CreateStream(headers)
	}
	if err != nil {
		_ = connection.Close()
		return forwarded{}, err
	}
	return f, nil
}
