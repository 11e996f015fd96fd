package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Commit makes the positions behind everything that Poll has returned the group's,
// and returns when the server has confirmed that. Where a partition is not the
// consumer's any more it is a *ClaimLostError; the others are committed.
func (k *Consumer[V]) Commit(ctx context.Context) error {
	k.mu.Lock()
	parts := make([]int, 0, len(k.order))
	for _, part := range k.order {
		parts = append(parts, part.number)
	}
	lost := slices.Clone(k.lost)
	k.mu.Unlock()
	err := k.commitPolled(ctx, parts)
	for _, p := range lost {
		err = errors.Join(err, k.lostError(p))
	}
	return err
}

func (k *Consumer[V]) commitPolled(ctx context.Context, parts []int) error {
	return k.commit(ctx, parts, func(part *consumerPart[V]) uint64 { return max(part.polled, part.acked) + 1 })
}

// CommitOffset makes next the group's position in one partition: the offset after
// the last one that is done.
func (k *Consumer[V]) CommitOffset(ctx context.Context, partition int, next uint64) error {
	k.mu.Lock()
	mine := k.parts[partition] != nil
	k.mu.Unlock()
	if !mine {
		return k.lostError(partition)
	}
	return k.commit(ctx, []int{partition}, func(*consumerPart[V]) uint64 { return max(next, 1) })
}

func (k *Consumer[V]) commit(ctx context.Context, parts []int, next func(*consumerPart[V]) uint64) error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return ErrClosed
	}
	at := make(map[*consumerPart[V]]uint64, len(parts))
	for _, p := range parts {
		if part := k.parts[p]; part != nil {
			if n := next(part); n != part.acked+1 {
				at[part] = n
			}
		}
	}
	k.mu.Unlock()
	return inParallel(slices.Collect(maps.Keys(at)), func(part *consumerPart[V]) error {
		// The claim first: only its holder can write it. The durable is what people
		// and their tools see.
		err := k.member.Commit(ctx, strconv.Itoa(part.number), at[part])
		if err == nil {
			err = k.c.StoreOffset(ctx, k.spec, k.cfg.Group, part.number, at[part])
		}
		if err != nil {
			return fmt.Errorf("stream: commit group %q in topic %q partition %d: %w", k.cfg.Group, k.spec.Name, part.number, err)
		}
		k.mu.Lock()
		part.acked = at[part] - 1
		k.mu.Unlock()
		return nil
	})
}

func (k *Consumer[V]) autoCommit(ctx context.Context) error {
	if k.cfg.AutoCommit == 0 || time.Since(k.committed) < k.cfg.AutoCommit {
		return nil
	}
	k.committed = time.Now()
	k.mu.Lock()
	parts := slices.Collect(maps.Keys(k.parts))
	closed := k.closed
	k.mu.Unlock()
	if closed {
		return nil
	}
	if err := k.commitPolled(ctx, parts); err != nil && !onlyLost(err) {
		return err
	}
	return nil
}

// onlyLost says whether a commit failed for no other reason than lost partitions, which
// the user is told otherwise.
func onlyLost(err error) bool {
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // it looks at what was joined
		return !slices.ContainsFunc(many.Unwrap(), func(one error) bool { return !onlyLost(one) })
	}
	var lost *ClaimLostError
	return errors.As(err, &lost)
}
