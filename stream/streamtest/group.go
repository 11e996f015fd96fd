package streamtest

import (
	"context"
	"fmt"
	"strconv"

	"github.com/rossby-streams/rossby/stream"
)

// group is a consumer group of one topic, guarded by the Log's mutex.
type group struct {
	// next is where it goes on in each partition in which it has been.
	next    map[int]uint64
	members []string
	holder  map[int]string // who reads a partition
}

// share gives the partitions that a member should have.
func (g *group) share(member string, partitions int) map[int]bool {
	items := make([]string, partitions)
	for p := range items {
		items[p] = strconv.Itoa(p)
	}
	out := make(map[int]bool)
	owners := stream.Assign(g.members, items)
	for p, item := range items {
		if owners[item] == member {
			out[p] = true
		}
	}
	return out
}

func (t *topicLog) group(name string) *group {
	g := t.groups[name]
	if g == nil {
		g = &group{next: make(map[int]uint64), holder: make(map[int]string)}
		t.groups[name] = g
	}
	return g
}

// Committed gives the group's position and lag in every partition, in order. A group
// that nobody has heard of is at the beginning.
func (l *Log) Committed(ctx context.Context, spec stream.TopicSpec, groupName string) ([]stream.GroupOffset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[spec.Name]
	if t == nil {
		return nil, &stream.TopicNotFoundError{Topic: spec.Name}
	}
	out := make([]stream.GroupOffset, len(t.parts))
	for p := range t.parts {
		next := uint64(1)
		if g := t.groups[groupName]; g != nil && g.next[p] > 0 {
			next = g.next[p]
		}
		out[p] = stream.GroupOffset{Partition: p, Next: next, Lag: uint64(len(t.parts[p].from(next)))}
	}
	return out, ctx.Err()
}

// ResetGroup lets a group without members go on at next in one partition, or at the
// nearest offset that the partition has; 1 replays everything. Where it has members
// it is a *stream.GroupActiveError and nothing changes.
func (l *Log) ResetGroup(spec stream.TopicSpec, groupName string, partition int, next uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[spec.Name]
	if t == nil || partition < 0 || partition >= len(t.parts) {
		return &stream.TopicNotFoundError{Topic: spec.Name, Partition: partition}
	}
	g := t.group(groupName)
	if len(g.members) > 0 {
		return &stream.GroupActiveError{Topic: spec.Name, Partition: partition, Group: groupName, Reason: fmt.Sprintf("member %s has not left", g.members[0])}
	}
	part := &t.parts[partition]
	g.next[partition] = min(max(next, part.first()), part.next)
	return nil
}
