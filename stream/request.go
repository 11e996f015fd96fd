package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Request asks a service and returns its answer. The error is a *ServiceError if the service has refused, and wraps ErrNoService if
// nobody answers that subject. It is one attempt, bounded by ctx and by 5 s.
func (c *Client) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, err := c.nc.RequestWithContext(ctx, subject, data)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("stream: request to %s: %w", subject, ErrNoService)
	}
	if err != nil {
		return nil, fmt.Errorf("stream: request to %s: %w", subject, err)
	}
	code, text := m.Header.Get(micro.ErrorCodeHeader), m.Header.Get(micro.ErrorHeader)
	if code == "" && text == "" {
		return m.Data, nil
	}
	number, err := strconv.Atoi(code)
	if err != nil {
		number = ServiceFailed
	}
	return nil, &ServiceError{Subject: subject, Code: number, Text: text}
}
