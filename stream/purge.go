package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Purge deletes the records of a partition before an offset: what every reader
// has read. Reading from a deleted offset is an *OffsetGoneError afterwards.
func (c *Client) Purge(ctx context.Context, spec TopicSpec, partition int, before uint64) error {
	spec = spec.withDefaults()
	if err := spec.checkPartition(partition); err != nil {
		return err
	}
	if before <= 1 {
		return nil
	}
	err := c.ask(ctx, func(ctx context.Context) error {
		s, err := c.js.Stream(ctx, spec.BackingStream(partition))
		if err != nil {
			return err
		}
		return s.Purge(ctx, jetstream.WithPurgeSequence(before))
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return &TopicNotFoundError{Topic: spec.Name, Partition: partition}
	}
	if err != nil {
		return fmt.Errorf("stream: purge topic %q partition %d: %w", spec.Name, partition, err)
	}
	return nil
}
