package streamtest

import (
	"context"
	"errors"

	"github.com/rossby-streams/rossby/stream"
)

func (b *bench) committed(group string) []stream.GroupOffset {
	b.Helper()
	o, err := b.target.Admin.Committed(b.ctx, b.topic.Spec(), group)
	b.must(err)
	return o
}

// settle polls two members in turn until they have so many partitions; nothing may come.
func (b *bench) settle(members []Member, want ...int) {
	b.Helper()
	for {
		settled := true
		for i, m := range members {
			b.equal("records", len(b.glance(m)), 0)
			settled = settled && len(m.Assigned()) == want[i]
		}
		if settled {
			return
		}
		b.must(b.ctx.Err())
	}
}

// gather polls members in turn until there are n records.
func (b *bench) gather(members []Member, n int) []stream.Record[string] {
	b.Helper()
	var out []stream.Record[string]
	for len(out) < n {
		for _, m := range members {
			out = append(out, b.glance(m)...)
		}
		b.must(b.ctx.Err())
	}
	b.equal("records", len(out), n)
	return out
}

func groupCases() []promise {
	one := stream.Topic[string]{}
	four := stream.Topic[string]{Partitions: 4}
	return []promise{
		{"a group that never was is at the beginning", one, func(b *bench) {
			b.send(numbered(5, 2)...)
			b.equal("committed", b.committed("g"), []stream.GroupOffset{{Partition: 0, Next: 1, Lag: 5}})
		}},
		{"what is not committed comes again", four, func(b *bench) {
			b.send(numbered(300, 20)...)
			m := b.join(stream.ConsumerConfig{})
			b.inOrder(b.read(m, 300))
			m.Close()
			b.inOrder(b.read(b.join(stream.ConsumerConfig{}), 300))
		}},
		{"what is committed does not come again", four, func(b *bench) {
			b.send(numbered(300, 20)...)
			m := b.join(stream.ConsumerConfig{})
			b.read(m, 300)
			b.must(m.Commit(b.ctx))
			m.Close()
			b.send(numbered(7, 20)...)
			b.read(b.join(stream.ConsumerConfig{}), 7)
		}},
		{"lag falls with the commit, not with the poll", one, func(b *bench) {
			b.send(numbered(10, 2)...)
			m := b.join(stream.ConsumerConfig{MaxPollRecords: 4})
			records, err := m.Poll(b.ctx)
			b.must(err)
			n := uint64(len(records))
			b.equal("at most MaxPollRecords", n > 0 && n <= 4, true)
			b.equal("before", b.committed("g")[0], stream.GroupOffset{Partition: 0, Next: 1, Lag: 10})
			b.must(m.Commit(b.ctx))
			b.equal("after", b.committed("g")[0], stream.GroupOffset{Partition: 0, Next: n + 1, Lag: 10 - n})
		}},
		{"groups do not see each other", four, func(b *bench) {
			b.send(numbered(100, 9)...)
			first := b.join(stream.ConsumerConfig{Group: "first"})
			b.read(first, 100)
			b.must(first.Commit(b.ctx))
			b.inOrder(b.read(b.join(stream.ConsumerConfig{Group: "second"}), 100))
		}},
		{"Latest begins with what comes", four, func(b *bench) {
			b.send(numbered(50, 9)...)
			m := b.join(stream.ConsumerConfig{Start: stream.Latest})
			b.send(numbered(20, 9)...)
			b.inOrder(b.read(m, 20))
		}},
		{"AtOffset begins there", one, func(b *bench) {
			b.send(numbered(50, 9)...)
			m := b.join(stream.ConsumerConfig{Start: stream.AtOffset, StartOffset: 41})
			b.equal("first", b.read(m, 10)[0].Offset, 41)
		}},
		{"the committed offset beats Start", one, func(b *bench) {
			b.send(numbered(10, 2)...)
			m := b.join(stream.ConsumerConfig{})
			b.read(m, 10)
			b.must(m.Commit(b.ctx))
			m.Close()
			b.send(numbered(3, 2)...)
			b.read(b.join(stream.ConsumerConfig{Start: stream.Latest}), 3)
		}},
		{"seek goes back and forth", one, func(b *bench) {
			b.send(numbered(50, 9)...)
			m := b.join(stream.ConsumerConfig{})
			b.read(m, 50)
			b.must(m.Seek(b.ctx, 0, 11))
			b.equal("back", b.read(m, 40)[0].Offset, 11)
			b.must(m.Seek(b.ctx, 0, 46))
			b.equal("forth", b.read(m, 5)[0].Offset, 46)
			as[*stream.ClaimLostError](b, m.Seek(b.ctx, 1, 1))
		}},
		{"a paused partition waits", four, func(b *bench) {
			m := b.join(stream.ConsumerConfig{})
			m.Pause(0, 1, 2, 3)
			b.send(numbered(100, 20)...)
			b.equal("while paused", len(b.glance(m)), 0)
			m.Resume(0, 1, 2, 3)
			b.inOrder(b.read(m, 100))
		}},
		{"a closed consumer reads nothing", one, func(b *bench) {
			m := b.join(stream.ConsumerConfig{})
			m.Close()
			m.Close()
			_, err := m.Poll(b.ctx)
			b.equal("closed", errors.Is(err, stream.ErrClosed), true)
		}},
		{"Poll waits until its context ends", one, func(b *bench) {
			m := b.join(stream.ConsumerConfig{})
			b.equal("records", len(b.glance(m)), 0)
			b.send(numbered(1, 1)...)
			b.read(m, 1)
		}},
		{"one Poll is of one partition and without a hole", four, func(b *bench) {
			b.send(numbered(3000, 40)...)
			m := b.join(stream.ConsumerConfig{})
			next := make(map[int]uint64)
			for n := 0; n < 3000; {
				records, err := m.Poll(b.ctx)
				b.must(err)
				for _, r := range records {
					b.equal("partition", r.Partition, records[0].Partition)
					b.equal("offset", r.Offset, next[r.Partition]+1)
					next[r.Partition] = r.Offset
				}
				n += len(records)
			}
		}},
		{"a member that leaves without a commit leaves its records", stream.Topic[string]{Partitions: 2}, func(b *bench) {
			b.send(numbered(100, 10)...)
			first := b.join(stream.ConsumerConfig{})
			b.read(first, 100)
			second := b.join(stream.ConsumerConfig{})
			first.Close()
			b.inOrder(b.gather([]Member{second}, 100))
		}},
		{"OnAssigned says where to begin and may change it", one, func(b *bench) {
			b.send(numbered(30, 3)...)
			m := b.join(stream.ConsumerConfig{OnAssigned: func(_ context.Context, parts []stream.Assignment) error {
				b.equal("assigned", parts, []stream.Assignment{{Partition: 0, Next: 1}})
				parts[0].Next = 21
				return nil
			}})
			b.equal("first", b.read(m, 10)[0].Offset, 21)
		}},
		{"OnRevoked is called before others read, and may commit", four, func(b *bench) {
			var first Member
			var revoked int
			first = b.join(stream.ConsumerConfig{OnRevoked: func(ctx context.Context, parts []int) error {
				err := first.Commit(ctx)
				if err == nil { // else it is called again
					revoked += len(parts)
				}
				return err
			}})
			b.send(numbered(200, 40)...)
			b.read(first, 200)
			second := b.join(stream.ConsumerConfig{})
			b.settle([]Member{first, second}, 2, 2)
			b.equal("revoked", revoked, 2)
		}},
		{"a bad group name is told", one, func(b *bench) {
			_, err := b.target.Consumer(b.ctx, b.topic, stream.ConsumerConfig{Group: "a.b"})
			as[*stream.NameError](b, err)
		}},
		{"members share the partitions", four, func(b *bench) {
			members := []Member{b.join(stream.ConsumerConfig{}), b.join(stream.ConsumerConfig{})}
			b.settle(members, 2, 2)
			b.send(numbered(1000, 40)...)
			b.inOrder(b.gather(members, 1000))
		}},
		{"a member that leaves is replaced, and nothing committed comes again", four, func(b *bench) {
			first, second := b.join(stream.ConsumerConfig{}), b.join(stream.ConsumerConfig{})
			b.settle([]Member{first, second}, 2, 2)
			b.send(numbered(400, 40)...)
			b.gather([]Member{first, second}, 400)
			b.must(first.Commit(b.ctx))
			b.must(second.Commit(b.ctx))
			first.Close()
			b.settle([]Member{second}, 4)
			b.send(numbered(100, 40)...)
			b.inOrder(b.read(second, 100))
		}},
		{"a member beyond the partitions waits for one", one, func(b *bench) {
			members := []Member{b.join(stream.ConsumerConfig{}), b.join(stream.ConsumerConfig{})}
			for i := range members {
				b.glance(members[i])
			}
			for len(members[0].Assigned())+len(members[1].Assigned()) != 1 {
				b.glance(members[0])
				b.glance(members[1])
				b.must(b.ctx.Err())
			}
			holder := 1 - len(members[0].Assigned())
			members[holder].Close()
			b.settle([]Member{members[1-holder]}, 1)
			b.send(numbered(10, 2)...)
			b.inOrder(b.read(members[1-holder], 10))
		}},
		{"four members share eight partitions", stream.Topic[string]{Partitions: 8}, func(b *bench) {
			var members []Member
			for range 4 {
				members = append(members, b.join(stream.ConsumerConfig{}))
			}
			b.settle(members, 2, 2, 2, 2)
			b.send(numbered(1000, 100)...)
			b.inOrder(b.gather(members, 1000))
		}},
	}
}
