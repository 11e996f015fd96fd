package registry_test

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rossby-streams/rossby/embedded"
)

// server runs a server in memory for an example, which has no testing.T.
func server() (jetstream.JetStream, func(), error) {
	s, err := embedded.Start(context.Background(), embedded.Config{})
	if err != nil {
		return nil, nil, err
	}
	nc, err := s.Connect()
	if err != nil {
		return nil, nil, errors.Join(err, s.Stop())
	}
	js, err := jetstream.New(nc)
	return js, func() { nc.Close(); _ = s.Stop() }, err
}
