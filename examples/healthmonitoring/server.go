package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/stream"
)

// connection is the way to the server, and the server itself if we have started it.
type connection struct {
	nc     *nats.Conn
	server *embedded.Server // nil: somebody else's
	client *stream.Client
}

// connect starts the built-in server, or connects to the one that was named.
func connect(ctx context.Context, o options) (*connection, error) {
	c := &connection{}
	var err error
	if o.nats != "" {
		c.nc, err = dial(o)
	} else {
		c.server, err = embedded.Start(ctx, embedded.Config{Dir: o.data})
		if err == nil {
			c.nc, err = c.server.Connect()
		}
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	cfg := stream.Config{}
	if o.nats == "" && o.data == "" {
		cfg.Storage = stream.Memory
	}
	if c.client, err = stream.NewClient(c.nc, cfg); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func dial(o options) (*nats.Conn, error) {
	opts := []nats.Option{nats.Name("rossby " + app), nats.Timeout(5 * time.Second), nats.MaxReconnects(-1)}
	if o.creds != "" {
		opts = append(opts, nats.UserCredentials(o.creds))
	}
	if o.tlsCA != "" {
		opts = append(opts, nats.RootCAs(o.tlsCA))
	}
	nc, err := nats.Connect(o.nats, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w; is a server running there, and do address and credentials fit? Without -nats a server is started for you",
			redact(o.nats), err)
	}
	return nc, nil
}

func (c *connection) close() error {
	if c.nc != nil {
		c.nc.Close()
	}
	if c.server != nil {
		return c.server.Stop()
	}
	return nil
}
