package main

import (
	"context"
	"testing"
)

// Each of them is told each time, and it ends with its context.
func TestAfterReconnecting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reconnected, first, second, ended := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan error)
	runnable := afterReconnecting(reconnected, func() { first <- struct{}{} }, func() { second <- struct{}{} })
	go func() { ended <- runnable.Start(ctx) }()
	for range 2 {
		reconnected <- struct{}{}
		<-first
		<-second
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
