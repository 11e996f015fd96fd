package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// PartitionOffsets is the extent of one partition.
type PartitionOffsets struct {
	// Partition is its number.
	Partition int
	// First is the oldest offset that exists; equal to Next when there is none.
	First uint64
	// Next is the offset of the next record to come: the last one plus 1.
	Next uint64
	// Records is how many there are. It may be less than Next minus First.
	Records uint64
}

// Offsets gives the extent of every partition, in order. A missing partition is
// a *TopicNotFoundError.
func (c *Client) Offsets(ctx context.Context, spec TopicSpec) ([]PartitionOffsets, error) {
	spec = spec.withDefaults()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	out := make([]PartitionOffsets, spec.Partitions)
	parts := make([]int, spec.Partitions)
	for p := range parts {
		parts[p] = p
	}
	err := inParallel(parts, func(p int) error {
		info, err := c.streamInfo(ctx, spec.BackingStream(p))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return &TopicNotFoundError{Topic: spec.Name, Partition: p}
		}
		if err != nil {
			return fmt.Errorf("stream: offsets of topic %q partition %d: %w", spec.Name, p, err)
		}
		out[p] = extent(info.State)
		out[p].Partition = p
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func extent(s jetstream.StreamState) PartitionOffsets {
	o := PartitionOffsets{First: s.FirstSeq, Next: s.LastSeq + 1, Records: s.Msgs}
	if s.Msgs == 0 {
		o.First = o.Next
	}
	return o
}
