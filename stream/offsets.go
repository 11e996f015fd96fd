package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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

// OffsetsAt gives for every partition, in order, the offset of the first record
// that was stored at or after t, and the offset of the record to come where
// there is none. A Reader from there on replays what has come since t.
func (c *Client) OffsetsAt(ctx context.Context, spec TopicSpec, t time.Time) ([]uint64, error) {
	spec = spec.withDefaults()
	extents, err := c.Offsets(ctx, spec)
	if err != nil {
		return nil, err
	}
	out := make([]uint64, len(extents))
	err = inParallel(partitionsAfter(-1, spec), func(p int) error {
		var err error
		out[p], err = c.offsetAfter(ctx, spec, extents[p], t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// offsetAt is OffsetsAt for one partition.
func (c *Client) offsetAt(ctx context.Context, spec TopicSpec, p int, t time.Time) (uint64, error) {
	info, err := c.streamInfo(ctx, spec.BackingStream(p))
	if err != nil {
		return 0, err
	}
	e := extent(info.State)
	e.Partition = p
	return c.offsetAfter(ctx, spec, e, t)
}

// offsetAfter gives the first offset that was stored at or after t, or the end that
// the extent says.
func (c *Client) offsetAfter(ctx context.Context, spec TopicSpec, e PartitionOffsets, t time.Time) (uint64, error) {
	req, err := json.Marshal(map[string]any{"start_time": t.UTC(), "next_by_subj": ">"})
	if err != nil {
		return 0, fmt.Errorf("stream: offsets of topic %q at %v: %w", spec.Name, t, err)
	}
	m, err := c.getMsg(ctx, spec.BackingStream(e.Partition), req)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, &TopicNotFoundError{Topic: spec.Name, Partition: e.Partition}
	case err != nil:
		return 0, fmt.Errorf("stream: offset of topic %q partition %d at %v: %w", spec.Name, e.Partition, t, err)
	case m != nil:
		return m.Seq, nil
	}
	return e.Next, nil
}
