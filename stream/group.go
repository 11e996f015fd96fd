package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// GroupOffset is how far a consumer group has come in one partition.
type GroupOffset struct {
	// Partition is its number.
	Partition int
	// Next is the offset at which the group goes on; 1 if it never committed.
	Next uint64
	// Lag is the number of records at or after Next.
	Lag uint64
}

// ackWait is long: should somebody pull from a group's durable, nothing comes twice
// because he is slow.
const ackWait = 24 * time.Hour

func checkGroup(group string) error {
	if problem := nameProblem(group); problem != "" {
		return &NameError{Kind: "consumer group", Name: group, Problem: "it " + problem}
	}
	return nil
}

// groupConfig is the durable of a group in one partition.
func groupConfig(spec TopicSpec, group string, p int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       group,
		Description:   fmt.Sprintf("Rossby consumer group %s on topic %s, partition %d", group, spec.Name, p),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckAllPolicy,
		// The durable keeps a position, nobody pulls from it: redelivery breaks order.
		AckWait:       ackWait,
		MaxAckPending: -1,
		MaxDeliver:    -1,
	}
}

// lookGroup gives the state of the group's durable; nil: there is none.
func (c *Client) lookGroup(ctx context.Context, spec TopicSpec, group string, p int) (info *jetstream.ConsumerInfo, err error) {
	stream := spec.BackingStream(p)
	err = c.ask(ctx, func(ctx context.Context) error {
		cons, err := c.js.Consumer(ctx, stream, group)
		if err == nil {
			info = cons.CachedInfo()
		}
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, &TopicNotFoundError{Topic: spec.Name, Partition: p}
	case err == nil && info.Config.AckPolicy != jetstream.AckAllPolicy:
		return nil, &NameError{Kind: "consumer group", Name: group, Problem: fmt.Sprintf("stream %s has a consumer of that name with other settings (choose another name)", stream)}
	}
	return info, err
}

// openGroup gives the state of the group's durable and creates it if need be.
func (c *Client) openGroup(ctx context.Context, spec TopicSpec, group string, p int) (info *jetstream.ConsumerInfo, created bool, err error) {
	info, err = c.lookGroup(ctx, spec, group, p)
	if info != nil || err != nil {
		return info, false, err
	}
	err = c.ask(ctx, func(ctx context.Context) error {
		cons, err := c.js.CreateOrUpdateConsumer(ctx, spec.BackingStream(p), groupConfig(spec, group, p))
		if err == nil {
			info = cons.CachedInfo()
		}
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = &TopicNotFoundError{Topic: spec.Name, Partition: p}
	}
	return info, true, err
}

// resetGroup moves the durable: its next delivery is the record at next, and its
// ack floor is before that. One request: nobody answers for a missing durable.
func (c *Client) resetGroup(ctx context.Context, spec TopicSpec, group string, p int, next uint64) error {
	_, err := c.js.ResetConsumerToSequence(ctx, spec.BackingStream(p), group, max(next, 1))
	return err
}

// StoreOffset records that the group goes on at next: the durable named after
// the group gets the ack floor next-1 and is created if it is missing. The
// position is for people and their tools; a processor's own truth is in its
// journals.
func (c *Client) StoreOffset(ctx context.Context, spec TopicSpec, group string, partition int, next uint64) error {
	spec = spec.withDefaults()
	if err := errors.Join(spec.checkPartition(partition), checkGroup(group)); err != nil {
		return err
	}
	// Nobody answers the reset of a durable that does not exist, so it is made
	// sure of once, and again when there is no answer.
	known := groupAt{spec.BackingStream(partition), group}
	err := error(nil)
	for b := (backoff{}); ; {
		if _, ok := c.groups.Load(known); !ok {
			if _, _, err = c.openGroup(ctx, spec, group, partition); err != nil {
				break
			}
			c.groups.Store(known, struct{}{})
		}
		one, cancel := context.WithTimeout(ctx, ackTimeout)
		err = c.resetGroup(one, spec, group, partition, next)
		cancel()
		if err == nil {
			return nil
		}
		c.groups.Delete(known)
		if ctx.Err() != nil || !retryable(err) || b.wait(ctx) != nil {
			break
		}
	}
	return fmt.Errorf("stream: store offset of group %q in topic %q partition %d: %w", group, spec.Name, partition, err)
}

// groupAt is a durable known to exist.
type groupAt struct{ stream, group string }

// Committed gives the group's position in every partition, in order. A group
// that nobody has heard of is at the beginning.
func (c *Client) Committed(ctx context.Context, spec TopicSpec, group string) ([]GroupOffset, error) {
	spec = spec.withDefaults()
	if err := errors.Join(spec.Validate(), checkGroup(group)); err != nil {
		return nil, err
	}
	out := make([]GroupOffset, spec.Partitions)
	parts := make([]int, spec.Partitions)
	for p := range parts {
		parts[p] = p
	}
	err := inParallel(parts, func(p int) error {
		o, err := c.committed(ctx, spec, group, p)
		out[p] = o
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CommittedAt gives the group's position in one partition, as Committed does.
func (c *Client) CommittedAt(ctx context.Context, spec TopicSpec, group string, partition int) (GroupOffset, error) {
	spec = spec.withDefaults()
	if err := errors.Join(spec.checkPartition(partition), checkGroup(group)); err != nil {
		return GroupOffset{}, err
	}
	return c.committed(ctx, spec, group, partition)
}

func groupOffset(p int, info *jetstream.ConsumerInfo) GroupOffset {
	return GroupOffset{Partition: p, Next: info.AckFloor.Stream + 1, Lag: info.NumPending + uint64(info.NumAckPending)}
}

func (c *Client) committed(ctx context.Context, spec TopicSpec, group string, p int) (GroupOffset, error) {
	o := GroupOffset{Partition: p, Next: 1}
	err := c.ask(ctx, func(ctx context.Context) error {
		cons, err := c.js.Consumer(ctx, spec.BackingStream(p), group)
		if err == nil {
			o = groupOffset(p, cons.CachedInfo())
		}
		return err
	})
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		info, ierr := c.streamInfo(ctx, spec.BackingStream(p))
		if err = ierr; err == nil {
			o.Lag = info.State.Msgs
		}
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = &TopicNotFoundError{Topic: spec.Name, Partition: p}
	}
	if err != nil {
		return o, fmt.Errorf("stream: position of group %q in topic %q partition %d: %w", group, spec.Name, p, err)
	}
	return o, nil
}
