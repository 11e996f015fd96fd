package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// GroupInfo is a consumer group of one topic.
type GroupInfo struct {
	// Topic and Group are the names.
	Topic, Group string
	// Offsets has the position and the lag in every partition, in order.
	Offsets []GroupOffset
	// Active says why the group counts as active, "member billing-1 holds partitions
	// [0 3]" for example. Empty: no member is known. Members tells all of them.
	Active string
}

// Groups lists the consumer groups of the given topics, and of all topics where
// none is given: by topic in the order given, then by group. A group is a durable
// consumer that acknowledges by offset, whoever made it; so the groups of
// processors are among them.
func (c *Client) Groups(ctx context.Context, topics ...TopicSpec) ([]GroupInfo, error) {
	if len(topics) == 0 {
		all, err := c.ListTopics(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			topics = append(topics, t.Spec)
		}
	}
	var out []GroupInfo
	for _, spec := range topics {
		spec = spec.withDefaults()
		if err := spec.Validate(); err != nil {
			return nil, err
		}
		groups, err := c.groupsOf(ctx, spec)
		if err != nil {
			return nil, fmt.Errorf("stream: list the groups of topic %q: %w", spec.Name, err)
		}
		out = append(out, groups...)
	}
	return out, nil
}

func (c *Client) groupsOf(ctx context.Context, spec TopicSpec) ([]GroupInfo, error) {
	durables := make([]map[string]*jetstream.ConsumerInfo, spec.Partitions)
	err := inParallel(partitionsAfter(-1, spec), func(p int) error {
		var err error
		durables[p], err = c.durables(ctx, spec, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	names := make(map[string]struct{})
	for _, d := range durables {
		for name := range d {
			names[name] = struct{}{}
		}
	}
	members, err := c.membersOf(ctx, spec.Name)
	if err != nil {
		return nil, err
	}
	var out []GroupInfo
	for name := range names {
		g := GroupInfo{Topic: spec.Name, Group: name}
		for p, d := range durables {
			info := d[name]
			if info == nil { // the group has not been in this partition yet
				o, err := c.committed(ctx, spec, name, p)
				if err != nil {
					return nil, err
				}
				g.Offsets = append(g.Offsets, o)
				continue
			}
			g.Offsets = append(g.Offsets, groupOffset(p, info))
			if why := groupActive(info); why != "" && g.Active == "" {
				g.Active = fmt.Sprintf("%s of partition %d", why, p)
			}
		}
		if m := members[name]; len(m) > 0 {
			g.Active = m[0].active()
		}
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b GroupInfo) int { return cmp.Compare(a.Group, b.Group) })
	return out, nil
}

// durables gives the durables of a partition that can be groups.
func (c *Client) durables(ctx context.Context, spec TopicSpec, p int) (map[string]*jetstream.ConsumerInfo, error) {
	found := make(map[string]*jetstream.ConsumerInfo)
	err := c.ask(ctx, func(ctx context.Context) error {
		clear(found)
		s, err := c.js.Stream(ctx, spec.BackingStream(p))
		if err != nil {
			return err
		}
		list := s.ListConsumers(ctx)
		for info := range list.Info() {
			if info.Config.Durable != "" && info.Config.AckPolicy == jetstream.AckAllPolicy {
				found[info.Config.Durable] = info
			}
		}
		return list.Err()
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = &TopicNotFoundError{Topic: spec.Name, Partition: p}
	}
	return found, err
}

// groupActive says what somebody who pulls from the group's durable is seen doing: a
// client that is no Consumer. Empty: nobody is seen.
func groupActive(info *jetstream.ConsumerInfo) string {
	if info.NumWaiting > 0 {
		return "a client waits for records"
	}
	for _, g := range info.PriorityGroups {
		if g.PinnedClientID != "" {
			return "a client is pinned to the durable"
		}
	}
	return ""
}

// stopped makes sure that no member of the group is active in those partitions.
// A durable that does not exist has none.
func (c *Client) stopped(ctx context.Context, spec TopicSpec, group string, parts []int) error {
	members, err := c.Members(ctx, spec, group)
	if err != nil {
		return err
	}
	if len(members) > 0 {
		return &GroupActiveError{Topic: spec.Name, Partition: parts[0], Group: group, Reason: members[0].active()}
	}
	return inParallel(parts, func(p int) error {
		var why string
		err := c.ask(ctx, func(ctx context.Context) error {
			cons, err := c.js.Consumer(ctx, spec.BackingStream(p), group)
			if err == nil {
				why = groupActive(cons.CachedInfo())
			}
			return err
		})
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return &TopicNotFoundError{Topic: spec.Name, Partition: p}
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			return nil
		case err == nil && why != "":
			return &GroupActiveError{Topic: spec.Name, Partition: p, Group: group, Reason: why}
		}
		return err
	})
}

// ResetTo is a position to which a group can be reset: ToEarliest, ToLatest,
// ToTime, ToOffset or ShiftBy.
type ResetTo struct {
	kind   resetKind
	time   time.Time
	offset uint64
	shift  int64
}

type resetKind int

const (
	resetNowhere resetKind = iota // the zero ResetTo
	resetEarliest
	resetLatest
	resetTime
	resetOffset
	resetShift
)

// ToEarliest is the oldest record that exists.
func ToEarliest() ResetTo { return ResetTo{kind: resetEarliest} }

// ToLatest is behind the newest record.
func ToLatest() ResetTo { return ResetTo{kind: resetLatest} }

// ToTime is the first record that was stored at or after t.
func ToTime(t time.Time) ResetTo { return ResetTo{kind: resetTime, time: t} }

// ToOffset is that offset, or the nearest one that the partition has.
func ToOffset(offset uint64) ResetTo { return ResetTo{kind: resetOffset, offset: offset} }

// ShiftBy is n records after the committed offset, before it where n is negative,
// or the nearest offset that the partition has.
func ShiftBy(n int64) ResetTo { return ResetTo{kind: resetShift, shift: n} }

// GroupReset says which group goes on where.
type GroupReset struct {
	// Topic and Group say which group. Required. A group that does not exist yet
	// is made.
	Topic TopicSpec
	Group string
	// Partitions are those to reset. nil: all.
	Partitions []int
	// To is where they go on. Required.
	To ResetTo
}

// ResetGroup moves the committed offsets of a stopped group, so that its next
// member goes on there; going back replays the records in between. It gives the
// new positions of the partitions that were reset. While a member is active it
// refuses with a *GroupActiveError and moves nothing. Where it fails half way,
// Committed tells how far it has come.
//
// The position of a processor is in its journals, not in its group: resetting the
// group changes what tools show until the processor's next commit.
func (c *Client) ResetGroup(ctx context.Context, r GroupReset) ([]GroupOffset, error) {
	spec := r.Topic.withDefaults()
	if err := errors.Join(spec.Validate(), checkGroup(r.Group)); err != nil {
		return nil, err
	}
	if r.To.kind == resetNowhere {
		return nil, errors.New("stream: GroupReset.To is required: ToEarliest, ToLatest, ToTime, ToOffset or ShiftBy")
	}
	parts := r.Partitions
	if parts == nil {
		parts = partitionsAfter(-1, spec)
	}
	for _, p := range parts {
		if err := spec.checkPartition(p); err != nil {
			return nil, err
		}
	}
	next := make(map[int]uint64, len(parts))
	out := make([]GroupOffset, len(parts))
	err := c.stopped(ctx, spec, r.Group, parts)
	if err == nil {
		next, err = c.resetPositions(ctx, spec, r)
	}
	if err == nil {
		err = inParallel(parts, func(p int) error { return c.resetPartition(ctx, spec, r.Group, groupAtOffset{p, next[p]}) })
	}
	if err == nil {
		err = inParallel(indexes(parts), func(i int) error {
			var err error
			out[i], err = c.committed(ctx, spec, r.Group, parts[i])
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("stream: reset group %q in topic %q: %w", r.Group, spec.Name, err)
	}
	return out, nil
}

func indexes[T any](s []T) []int {
	out := make([]int, len(s))
	for i := range out {
		out[i] = i
	}
	return out
}

// resetPositions gives the offset of each partition at which it would go on.
func (c *Client) resetPositions(ctx context.Context, spec TopicSpec, r GroupReset) (map[int]uint64, error) {
	extents, err := c.Offsets(ctx, spec)
	if err != nil {
		return nil, err
	}
	var from []uint64 // what To counts from
	switch r.To.kind {
	case resetTime:
		from, err = c.OffsetsAt(ctx, spec, r.To.time)
	case resetShift:
		var committed []GroupOffset
		committed, err = c.Committed(ctx, spec, r.Group)
		for _, o := range committed {
			from = append(from, o.Next)
		}
	}
	if err != nil {
		return nil, err
	}
	next := make(map[int]uint64, len(extents))
	for p, e := range extents {
		var at uint64
		switch r.To.kind {
		case resetEarliest:
			at = e.First
		case resetLatest:
			at = e.Next
		case resetTime:
			at = from[p]
		case resetOffset:
			at = r.To.offset
		case resetShift:
			at = shifted(from[p], r.To.shift)
		}
		next[p] = min(max(at, e.First), e.Next)
	}
	return next, nil
}

// shifted adds n and stays within the numbers.
func shifted(at uint64, n int64) uint64 {
	if n < 0 {
		back := uint64(-(n + 1)) + 1 // -n, which may not fit
		return at - min(at, back)
	}
	if sum := at + uint64(n); sum >= at {
		return sum
	}
	return 1<<64 - 1
}

// DeleteGroup removes a stopped group and its positions from the topic; a group
// that does not exist is no error. While a member is active it refuses with a
// *GroupActiveError and removes nothing.
func (c *Client) DeleteGroup(ctx context.Context, spec TopicSpec, group string) error {
	spec = spec.withDefaults()
	if err := errors.Join(spec.Validate(), checkGroup(group)); err != nil {
		return err
	}
	parts := partitionsAfter(-1, spec)
	err := c.stopped(ctx, spec, group, parts)
	if err == nil {
		err = c.forgetGroups(ctx, membershipName(spec.Name, group)+".")
	}
	if err == nil {
		err = inParallel(parts, func(p int) error {
			c.groups.Delete(groupAt{spec.BackingStream(p), group})
			err := c.ask(ctx, func(ctx context.Context) error { return c.js.DeleteConsumer(ctx, spec.BackingStream(p), group) })
			if errors.Is(err, jetstream.ErrConsumerNotFound) {
				return nil
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("stream: delete group %q of topic %q: %w", group, spec.Name, err)
	}
	return nil
}
