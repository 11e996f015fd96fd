package stream

import "context"

// Sender is what code that produces asks for when its tests shall run without a
// server: *Producer has it, and so has the producer of package streamtest.
type Sender[V any] interface {
	// Send is that of Producer.
	Send(ctx context.Context, r ProducerRecord[V]) error
	// Flush is that of Producer.
	Flush(ctx context.Context) error
}

// Poller is what code that consumes asks for when its tests shall run without a
// server: *Consumer has it, and so has the consumer of package streamtest.
type Poller[V any] interface {
	// Poll is that of Consumer.
	Poll(ctx context.Context) ([]Record[V], error)
	// Commit is that of Consumer.
	Commit(ctx context.Context) error
}

var (
	_ Sender[any] = (*Producer[any])(nil)
	_ Poller[any] = (*Consumer[any])(nil)
)
