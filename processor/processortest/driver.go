package processortest

import (
	"context"
	"testing"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/internal/disk"
	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// maxMessage is the limit of the pretended server: the default of a real one.
const maxMessage = 1 << 20

// Driver runs one topology. It is for one goroutine.
type Driver struct {
	tb     testing.TB
	parts  []processor.Part
	tasks  []*task
	topics map[string]*topic
	global map[string]processor.Global // by topic
	rows   map[string]any              // of global tables
	dead   stream.Topic[[]byte]
	now    time.Time
	err    error
	crash  func(Step) bool
	state  *disk.DB // opened when a task needs it
}

// task is one task with what it leaves in the world: its journal, and how far it has been fed.
type task struct {
	part    processor.Part
	index   int
	engine  *engine.Task
	journal [][]byte
	first   uint64   // sequence of the first entry that has not been trimmed, 1-based
	fed     []uint64 // per input: offset of the last message handed over
}

// topic is a topic in memory.
type topic struct {
	partitions [][]stream.Message
	ids        map[string]bool
	read       []int // per partition: how many have been returned by Read
}

// New returns a driver for t, with empty topics. The clock that stamps stored records starts at 2000-01-01 and moves by
// SetClock, AdvanceClock and the pauses of a Retry. Errors of the driver itself fail tb.
func New(tb testing.TB, t *processor.Topology) *Driver {
	tb.Helper()
	d := &Driver{
		tb: tb, parts: t.Parts(), topics: make(map[string]*topic), dead: t.DeadLetterTopic(),
		now: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), global: make(map[string]processor.Global), rows: make(map[string]any),
	}
	for _, g := range t.Globals() {
		d.topic(g.Topic)
		d.global[g.Topic.Name], d.rows[g.Topic.Name] = g, g.Rows
	}
	for _, part := range d.parts {
		for _, in := range part.Plan.Inputs {
			d.topic(in.Topic)
		}
		for _, out := range part.Plan.Sinks {
			if !out.External {
				d.topic(out.Topic)
			}
		}
		for p := range part.Partitions {
			d.tasks = append(d.tasks, &task{part: part, index: p, first: 1})
		}
	}
	d.restore()
	return d
}

func (d *Driver) topic(spec stream.TopicSpec) *topic {
	t, ok := d.topics[spec.Name]
	if !ok {
		t = &topic{
			partitions: make([][]stream.Message, spec.Partitions), read: make([]int, spec.Partitions), ids: make(map[string]bool),
		}
		d.topics[spec.Name] = t
	}
	return t
}

// SetClock sets the clock: the time at which records are stored, which is the event time of topics that have no other, and the time
// by which timers set with ScheduleWall fire. Those that are due now fire, and what comes of them is processed. A Retry moves the
// clock by its pauses.
func (d *Driver) SetClock(now time.Time) {
	d.tb.Helper()
	d.now = now
	d.run()
}

// AdvanceClock moves the clock on by that much; see SetClock.
func (d *Driver) AdvanceClock(by time.Duration) {
	d.tb.Helper()
	d.SetClock(d.now.Add(by))
}

// Clock returns the time by the clock.
func (d *Driver) Clock() time.Time { return d.now }

// Pipe sends records to a topic that the topology reads, and processes all that comes of each before the next. A record's Time
// becomes its event time unless it is zero; Window is not looked at.
func Pipe[V any](d *Driver, to stream.Topic[V], records ...processor.Record[V]) {
	d.tb.Helper()
	codec := codecOf(to)
	for _, r := range records {
		data, err := codec.Encode(r.Value)
		if err != nil {
			d.tb.Fatalf("processortest: encode a record for topic %s: %v", to.Name, err)
		}
		headers := r.Headers.Clone()
		if !r.Time.IsZero() {
			if headers == nil {
				headers = make(stream.Headers, 1)
			}
			headers.Set(stream.TimeHeader, r.Time.UTC().Format(time.RFC3339Nano))
		}
		d.PipeBytes(to.Spec(), r.Key, data, headers)
	}
}

// Delete sends a tombstone for a key of a topic that the topology reads as a table, with that event time unless it is zero.
func Delete[V any](d *Driver, from stream.Topic[V], key string, at time.Time) {
	d.tb.Helper()
	var headers stream.Headers
	if !at.IsZero() {
		headers = stream.Headers{}
		headers.Set(stream.TimeHeader, at.UTC().Format(time.RFC3339Nano))
	}
	d.PipeBytes(from.Spec(), key, nil, headers)
}

// PipeBytes sends one record as it stands, legal or not.
func (d *Driver) PipeBytes(to stream.TopicSpec, key string, data []byte, headers stream.Headers) {
	d.tb.Helper()
	t, ok := d.topics[to.Name]
	if !ok {
		d.tb.Fatalf("processortest: the topology does not read topic %q", to.Name)
	}
	p := stream.Partition(key, len(t.partitions))
	d.append(to, p, stream.Message{Key: key, Data: data, Headers: headers, Stored: d.now})
	d.run()
}

func (t *topic) append(p int, m stream.Message) {
	m.Partition, m.Offset = p, uint64(len(t.partitions[p])+1)
	t.partitions[p] = append(t.partitions[p], m)
}

// append stores a record, for whoever reads the topic; a global table has it at once.
func (d *Driver) append(spec stream.TopicSpec, p int, m stream.Message) {
	t := d.topics[spec.Name]
	t.append(p, m)
	if g, ok := d.global[spec.Name]; ok {
		if err := g.Apply(t.partitions[p][len(t.partitions[p])-1]); err != nil {
			d.tb.Logf("processortest: passed over: %v", err)
		}
	}
}

// Read returns what a topic has got since the last Read of it, partition by partition, in order.
func Read[V any](d *Driver, from stream.Topic[V]) []processor.Record[V] {
	d.tb.Helper()
	rows := ReadTable(d, from)
	records := make([]processor.Record[V], len(rows))
	for i, r := range rows {
		if r.Value == nil { // no bytes: a tombstone, unless the codec takes them for a value
			value, err := codecOf(from).Decode(nil)
			if err != nil {
				d.tb.Fatalf("processortest: topic %s holds a tombstone, of key %q: read it with ReadTable (%v)", from.Name, r.Key, err)
			}
			r.Value = &value
		}
		records[i] = processor.With(r, *r.Value)
	}
	return records
}

func codecOf[V any](t stream.Topic[V]) stream.Codec[V] {
	if t.Codec == nil {
		return stream.JSON[V]()
	}
	return t.Codec
}

// ReadTable is Read for topics that a table is written to: the value of a tombstone is nil.
func ReadTable[V any](d *Driver, from stream.Topic[V]) []processor.Record[*V] {
	d.tb.Helper()
	codec := codecOf(from)
	t, ok := d.topics[from.Name]
	if !ok {
		d.tb.Fatalf("processortest: the topology does not know topic %q", from.Name)
	}
	var records []processor.Record[*V]
	for p, messages := range t.partitions {
		for _, m := range messages[t.read[p]:] {
			r := processor.Record[*V]{Key: m.Key, Time: m.Stored, Headers: m.Headers}
			if len(m.Data) > 0 {
				value, err := codec.Decode(m.Data)
				if err != nil {
					d.tb.Fatalf("processortest: topic %s, partition %d, offset %d: %v", from.Name, p, m.Offset, err)
				}
				r.Value = &value
			}
			if h := m.Headers.Get(stream.TimeHeader); h != "" {
				var err error
				if r.Time, err = time.Parse(time.RFC3339Nano, h); err != nil {
					d.tb.Fatalf("processortest: topic %s, partition %d, offset %d: %v", from.Name, p, m.Offset, err)
				}
			} else if from.Time != nil && r.Value != nil {
				r.Time = from.Time(*r.Value)
			}
			records = append(records, r)
		}
		t.read[p] = len(messages)
	}
	return records
}

// DeadLetters returns the dead letters since the last call. Why each is there is in its headers.
func (d *Driver) DeadLetters() []processor.Record[[]byte] {
	d.tb.Helper()
	return Read(d, d.dead)
}

// AdvanceTime moves the stream time of every task to now, if that is later: what CloseOnIdle does when nothing comes.
func (d *Driver) AdvanceTime(now time.Time) {
	d.tb.Helper()
	for _, t := range d.tasks {
		for crashed := true; crashed; {
			d.note(t.engine.Advance(now.UnixNano()))
			crashed = d.commit(t)
		}
	}
	d.run()
}

// CloseAll closes every window that is open: what a bounded app does at the end of its input.
func (d *Driver) CloseAll() {
	d.tb.Helper()
	for _, t := range d.tasks {
		for crashed := true; crashed; {
			d.note(t.engine.CloseAll())
			crashed = d.commit(t)
		}
	}
	d.run()
}

// Crash loses everything that tasks hold in memory and restores them from their journals.
func (d *Driver) Crash() {
	d.tb.Helper()
	d.restore()
	d.run()
}

// Err returns the error that has stopped a task, if any: a failed record under the policy Stop. The driver does nothing more
// then, until Crash.
func (d *Driver) Err() error { return d.err }

func (d *Driver) restore() {
	d.tb.Helper()
	d.err = nil
	for _, t := range d.tasks {
		d.restoreTask(t)
	}
}

func (d *Driver) restoreTask(t *task) {
	d.tb.Helper()
	t.engine = engine.NewTask(t.part.Plan, t.index, maxMessage)
	t.engine.Attach(engine.World{
		Now:     func() time.Time { return d.now },
		Pause:   func(_ engine.Failure, pause time.Duration) bool { d.now = d.now.Add(pause); return true },
		Globals: d.rows,
		Skipped: func(f engine.Failure) { d.tb.Logf("processortest: skipped: %s: %v", f.Operator, f.Err) },
	})
	d.note(t.engine.Err())
	t.fed = make([]uint64, len(t.part.Plan.Inputs))
	for i := d.openState(t); i < len(t.journal); i++ {
		if err := t.engine.Restore(t.first+uint64(i), t.journal[i]); err != nil {
			d.tb.Fatalf("processortest: %v", err)
		}
	}
	if !t.engine.Confirmed() {
		d.tb.Fatal("processortest: the state database does not follow the journal")
	}
	undelivered, err := t.engine.Restored()
	if err != nil {
		d.tb.Fatalf("processortest: %v", err)
	}
	for _, u := range undelivered {
		d.deliver(t, u.Outbox)
		t.engine.Delivered(u.Number)
	}
}

// run processes until no task has anything left.
func (d *Driver) run() {
	d.tb.Helper()
	for busy := true; busy && d.err == nil; {
		busy = false
		for _, t := range d.tasks {
			fired, err := t.engine.AdvanceWall(d.now.UnixNano())
			d.note(err)
			d.commit(t)
			busy = busy || fired
			d.feed(t)
			for d.err == nil {
				done, err := t.engine.Step()
				d.note(err)
				if crashed := d.commit(t); crashed {
					d.feed(t)
					done = true
				}
				if !done {
					break
				}
				busy = true
			}
		}
	}
}

func (d *Driver) note(err error) {
	if err != nil && d.err == nil {
		d.err = err
	}
}

func (d *Driver) feed(t *task) {
	for i, in := range t.part.Plan.Inputs {
		messages := d.topics[in.Topic.Name].partitions[t.index][t.fed[i]:]
		if len(messages) > 0 {
			t.fed[i] += uint64(len(messages))
			t.engine.Feed(i, append([]stream.Message(nil), messages...))
		}
	}
}

// commit commits what a task has done and delivers it; it reports whether the task has crashed on the way, and is restored.
func (d *Driver) commit(t *task) (crashed bool) {
	d.tb.Helper()
	if d.err != nil {
		return false
	}
	c, err := t.engine.Commit("driver", false)
	if err != nil {
		d.note(err)
		return false
	}
	if c == nil {
		return false
	}
	if d.crashes(t, c, BeforeAppend) {
		return true
	}
	t.journal = append(t.journal, c.Data)
	t.engine.Appended(c.Number, t.first+uint64(len(t.journal)-1))
	if d.crashes(t, c, AfterAppend) {
		return true
	}
	half := len(c.Outbox) / 2
	d.deliver(t, c.Outbox[:half])
	if half > 0 && d.crashes(t, c, AmidDelivery) {
		return true
	}
	d.deliver(t, c.Outbox[half:])
	if d.err != nil {
		return false // it is delivered again after a Crash
	}
	if d.crashes(t, c, AfterDelivery) {
		return true
	}
	if err := c.Store(t.first + uint64(len(t.journal)-1)); err != nil {
		d.note(err)
		return false
	}
	if t.engine.NeedsDisk() && d.crashes(t, c, AfterStore) {
		return true
	}
	t.engine.Delivered(c.Number)
	if before, ok := t.engine.Trim(); ok {
		t.journal = t.journal[before-t.first:]
		t.first = before
	}
	return false
}

// deliver stores an outbox, and hands over what is for no topic. What is not taken is given again after a Crash.
func (d *Driver) deliver(task *task, outbox []stream.Outgoing) {
	for i, o := range outbox {
		if send, ok := task.part.External[o.Topic.Name]; ok {
			d.note(send(context.Background(), outbox[i:i+1]))
			continue
		}
		t := d.topics[o.Topic.Name]
		if t.ids[o.ID] {
			continue
		}
		t.ids[o.ID] = true
		d.append(o.Topic, o.Partition, stream.Message{Key: o.Key, Data: o.Data, Headers: o.Headers, Stored: d.now})
	}
}
