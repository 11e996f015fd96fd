package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// membershipName is that of a consumer group's log; topics and groups have no dots.
func membershipName(topic, group string) string { return "consumer." + topic + "." + group }

// open joins, and waits for the partitions that were free.
func (k *Consumer[V]) open(ctx context.Context) error {
	if err := k.existing(ctx); err != nil {
		return err
	}
	k.run, k.cancel = context.WithCancel(context.Background())
	items := make([]string, k.spec.Partitions)
	for p := range items {
		items[p] = strconv.Itoa(p)
	}
	member, err := k.c.Join(ctx, MembershipConfig{
		Name: membershipName(k.spec.Name, k.cfg.Group), Member: k.cfg.Member, Items: items,
		SessionTimeout: k.cfg.SessionTimeout,
		Assigned:       k.whenAssigned, Revoke: k.whenRevoked, Lost: k.whenLost, Failed: k.fail,
	})
	if err != nil {
		k.cancel()
		k.wg.Wait()
		return err
	}
	k.member = member
	k.mu.Lock()
	parts := slices.Collect(maps.Values(k.parts))
	k.mu.Unlock()
	for _, part := range parts {
		select {
		case <-part.opened:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	k.mu.Lock()
	err = errors.Join(err, k.err)
	k.mu.Unlock()
	if err != nil {
		k.Close()
	}
	return err
}

// existing makes sure of the topic's partitions and that the name is free for a group.
func (k *Consumer[V]) existing(ctx context.Context) error {
	if err := k.c.laidOut(ctx, k.spec); err != nil {
		return fmt.Errorf("stream: consume topic %q as group %q: %w", k.spec.Name, k.cfg.Group, err)
	}
	return inParallel(partitionsAfter(-1, k.spec), func(p int) error {
		if _, err := k.c.lookGroup(ctx, k.spec, k.cfg.Group, p); err != nil {
			return fmt.Errorf("stream: consume topic %q partition %d as group %q: %w", k.spec.Name, p, k.cfg.Group, err)
		}
		return nil
	})
}

// whenAssigned starts a goroutine for each partition that the consumer has been given.
func (k *Consumer[V]) whenAssigned(claims []Claim) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, claim := range claims {
		p, err := strconv.Atoi(claim.Item)
		if err != nil || k.run.Err() != nil {
			continue
		}
		k.start(&consumerPart[V]{number: p}, claim.Next)
	}
}

// start is called with the mutex held. from is where the claim says that the group
// goes on, 0 where it does not.
func (k *Consumer[V]) start(part *consumerPart[V], from uint64) {
	ctx, cancel := context.WithCancel(k.run)
	part.cancel = cancel
	part.opened, part.begin, part.done = make(chan struct{}), make(chan struct{}), make(chan struct{})
	part.room = make(chan struct{})
	k.parts[part.number] = part
	k.wg.Go(func() {
		defer close(part.done)
		defer cancel()
		if err := k.read(ctx, part, from); err != nil && ctx.Err() == nil {
			k.fail(fmt.Errorf("stream: consume topic %q partition %d as group %q: %w", k.spec.Name, part.number, k.cfg.Group, err))
		}
	})
}

// read reads a partition until ctx ends.
func (k *Consumer[V]) read(ctx context.Context, part *consumerPart[V], from uint64) error {
	opened := false
	ready := func() {
		if !opened {
			opened = true
			close(part.opened)
		}
	}
	defer ready()
	if part.next == 0 {
		next, err := k.position(ctx, part.number, from)
		if err != nil {
			return err
		}
		k.announce(part, next)
		if k.cfg.OnAssigned != nil {
			ready()
			select {
			case <-part.begin:
			case <-ctx.Done():
				return nil
			}
		}
	}
	f := k.feed(ctx, part)
	if err := f.open(ctx); err != nil {
		return err
	}
	defer f.close()
	ready()
	return f.run(ctx)
}

// announce makes a partition known whose position is known.
func (k *Consumer[V]) announce(part *consumerPart[V], next uint64) {
	k.mu.Lock()
	part.next, part.acked = next, next-1
	if k.parts[part.number] == part {
		if k.cfg.OnAssigned != nil {
			k.assigned = append(k.assigned, part)
		} else {
			part.told = true
			k.order = append(k.order, part)
		}
	}
	k.mu.Unlock()
	k.wake()
}

func (k *Consumer[V]) feed(ctx context.Context, part *consumerPart[V]) *feed {
	f := k.c.partitionFeed(k.spec, part.number)
	f.credit = k.cfg.MaxInFlight
	k.mu.Lock()
	f.last = part.next - 1
	k.mu.Unlock()
	keys := k.spec.keyReader(part.number)
	f.handle = func(m *nats.Msg, pos position) bool {
		part.filling = append(part.filling, k.record(part.number, keys, m, pos))
		part.size += len(m.Data)
		if len(part.filling) < k.limit && part.size < chunkBytes {
			return true
		}
		return k.put(ctx, part)
	}
	f.idle = func() bool { return k.put(ctx, part) }
	return f
}

// position gives the offset at which the group goes on in a partition: the later one
// of what its durable and what the last claim say, since a holder that has lost
// the claim can set the durable back, but not the claim.
func (k *Consumer[V]) position(ctx context.Context, p int, claimed uint64) (uint64, error) {
	info, created, err := k.c.openGroup(ctx, k.spec, k.cfg.Group, p)
	if err != nil {
		return 0, err
	}
	next := info.AckFloor.Stream + 1
	if !created {
		if claimed > next {
			return claimed, k.c.StoreOffset(ctx, k.spec, k.cfg.Group, p, claimed)
		}
		return next, nil
	}
	switch k.cfg.Start {
	case Latest:
		stream, err := k.c.streamInfo(ctx, k.spec.BackingStream(p))
		if err != nil {
			return 0, err
		}
		next = stream.State.LastSeq + 1
	case AtTime:
		if next, err = k.c.offsetAt(ctx, k.spec, p, k.cfg.StartTime); err != nil {
			return 0, err
		}
	case AtOffset:
		next = k.cfg.StartOffset
	default:
		return next, nil
	}
	return next, k.c.StoreOffset(ctx, k.spec, k.cfg.Group, p, next)
}

func numbers(items []string) []int {
	out := make([]int, 0, len(items))
	for _, item := range items {
		if p, err := strconv.Atoi(item); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func (k *Consumer[V]) whenRevoked(items []string) {
	k.mu.Lock()
	k.revoked = append(k.revoked, numbers(items)...)
	k.mu.Unlock()
	k.wake()
}

func (k *Consumer[V]) whenLost(items []string) {
	k.mu.Lock()
	for _, p := range numbers(items) {
		if part := k.parts[p]; part != nil {
			if part.told && !part.gone {
				k.lost = append(k.lost, p)
			}
			k.forget(part)
		}
	}
	k.mu.Unlock()
	k.wake()
}

// forget stops reading a partition; what waits for Poll is dropped. It is called with
// the mutex held.
func (k *Consumer[V]) forget(part *consumerPart[V]) {
	part.cancel()
	delete(k.parts, part.number)
	is := func(other *consumerPart[V]) bool { return other == part }
	k.order = slices.DeleteFunc(k.order, is)
	k.assigned = slices.DeleteFunc(k.assigned, is)
	k.revoked = slices.DeleteFunc(k.revoked, func(p int) bool { return p == part.number })
}

// rebalance tells the user what has changed, in the order lost, revoked, assigned, and
// gives up what was revoked.
func (k *Consumer[V]) rebalance(ctx context.Context) error {
	k.mu.Lock()
	lost, revoked := k.lost, slices.Clone(k.revoked)
	k.lost = nil
	closed := k.closed
	k.mu.Unlock()
	if closed {
		return nil
	}
	if len(lost) > 0 && k.cfg.OnLost != nil {
		if err := k.cfg.OnLost(ctx, lost); err != nil {
			return err
		}
	}
	if len(revoked) > 0 {
		if err := k.giveUp(ctx, revoked); err != nil {
			return err
		}
	}
	return k.tellAssigned(ctx)
}

// giveUp lets go of partitions once the user has had the chance to commit.
func (k *Consumer[V]) giveUp(ctx context.Context, revoked []int) error {
	if err := k.lastChance(ctx, revoked); err != nil {
		return err
	}
	return inParallel(revoked, func(p int) error {
		k.mu.Lock()
		part := k.parts[p]
		if part == nil { // lost meanwhile
			k.mu.Unlock()
			return nil
		}
		k.forget(part)
		next := part.acked + 1
		if part.next == 0 {
			next = 0 // its position was not known yet
		}
		k.mu.Unlock()
		var gone *ClaimLostError
		if err := k.member.Release(ctx, strconv.Itoa(p), next); err != nil && !errors.As(err, &gone) {
			k.mu.Lock()
			k.revoked = append(k.revoked, p)
			k.parts[p] = part
			k.mu.Unlock()
			return err
		}
		return nil
	})
}

// lastChance commits what was polled, where that is automatic, and calls OnRevoked: once for a partition, however often it
// takes until the server has heard that it is free.
func (k *Consumer[V]) lastChance(ctx context.Context, parts []int) (err error) {
	k.mu.Lock()
	told := slices.DeleteFunc(slices.Clone(parts), func(p int) bool { return k.parts[p] == nil || !k.parts[p].told || k.parts[p].gone })
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, p := range told {
			if part := k.parts[p]; part != nil && err == nil {
				part.gone = true
			}
		}
	}()
	if len(told) == 0 {
		return nil
	}
	if k.cfg.AutoCommit > 0 {
		if err := k.commitPolled(ctx, told); err != nil && !onlyLost(err) {
			return err
		}
	}
	if k.cfg.OnRevoked == nil {
		return nil
	}
	slices.Sort(told)
	return k.cfg.OnRevoked(ctx, told)
}

func (k *Consumer[V]) tellAssigned(ctx context.Context) error {
	k.mu.Lock()
	fresh := k.assigned
	k.assigned = nil
	told := make([]Assignment, len(fresh))
	for i, part := range fresh {
		told[i] = Assignment{Partition: part.number, Next: part.next}
		part.told = true
	}
	k.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	err := k.cfg.OnAssigned(ctx, told)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil { // where to begin may not be known: they wait for another call
		for _, part := range fresh {
			if k.parts[part.number] == part {
				part.told = false
				k.assigned = append(k.assigned, part)
			}
		}
		k.wake()
		return err
	}
	for i, part := range fresh {
		if k.parts[part.number] != part {
			continue // lost meanwhile
		}
		if next := max(told[i].Next, 1); next != part.next {
			part.next, part.acked = next, next-1
		}
		k.order = append(k.order, part)
		close(part.begin)
	}
	return nil
}

// Assigned gives the partitions that the consumer reads now, in order. A member
// beyond the number of partitions has none.
func (k *Consumer[V]) Assigned() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]int, 0, len(k.order))
	for _, part := range k.order {
		out = append(out, part.number)
	}
	slices.Sort(out)
	return out
}

// Member is the name of this member in its group: the static one, or a random one.
func (k *Consumer[V]) Member() string { return k.member.ID() }

// Seek lets Poll go on at next in a partition that the consumer reads; what has been
// committed stays as it is until the next commit. A partition that it does not
// read is a *ClaimLostError.
func (k *Consumer[V]) Seek(ctx context.Context, partition int, next uint64) error {
	k.mu.Lock()
	old := k.parts[partition]
	if old == nil || !slices.Contains(k.order, old) {
		k.mu.Unlock()
		return k.lostError(partition)
	}
	old.cancel()
	k.mu.Unlock()
	select {
	case <-old.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	at := slices.Index(k.order, old)
	if at < 0 {
		return k.lostError(partition)
	}
	part := &consumerPart[V]{number: partition, told: true, next: max(next, 1), acked: old.acked}
	k.order[at] = part
	k.start(part, 0)
	return nil
}

// Close leaves the group and waits until reading has ended. It calls OnRevoked, and
// commits where AutoCommit is set; so, with one of these, call it when what Poll has
// returned is processed. Its partitions are free for others at once, unless Member is
// set. It takes 5 s at most, and what OnRevoked takes. Further calls do nothing.
func (k *Consumer[V]) Close() {
	k.mu.Lock()
	closed := k.closed
	parts := slices.Collect(maps.Keys(k.parts))
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if !closed {
		if err := k.lastChance(ctx, parts); err != nil {
			k.c.log.Warn("the last commit before leaving failed", zap.String("topic", k.spec.Name), zap.Error(err))
		}
	}
	k.mu.Lock()
	again := k.closed
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	if !again {
		k.member.Leave(ctx)
	}
	k.wg.Wait()
	k.wake()
}

func (k *Consumer[V]) lostError(partition int) error {
	return &ClaimLostError{Group: membershipName(k.spec.Name, k.cfg.Group), Item: strconv.Itoa(partition)}
}
