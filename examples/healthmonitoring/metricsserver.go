package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rossby-streams/rossby/processor/prom"
)

// listenForScrapes opens the address of -metrics. A bare port is one of loopback.
func listenForScrapes(address string) (net.Listener, error) {
	if strings.HasPrefix(address, ":") {
		address = "127.0.0.1" + address
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-metrics %s: %w", address, err)
	}
	return l, nil
}

// serveMetrics shows what the app does as Prometheus metrics, until ctx ends.
func (m *monitoring) serveMetrics(ctx context.Context, l net.Listener) error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(prom.NewCollector(app, m.app)); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	m.say("metrics on http://%s/metrics", l.Addr())
	select {
	case err := <-served:
		return fmt.Errorf("serve metrics on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	if err := server.Close(); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
