package engine

import (
	"fmt"
	"strconv"

	"github.com/rossby-streams/rossby/stream"
)

// Emitted is a record on its way to a sink.
type Emitted struct {
	Sink      int
	Partition int
	Key       string
	Time      int64   // event time; carried by repartition topics only
	Window    Window3 // likewise
	Headers   stream.Headers
	Data      []byte
}

// outbox gathers what a task produces between two commits. Records for one partition of a repartition topic share
// messages; the others are messages of their own.
type outbox struct {
	messages []outMessage
	open     []map[int]int // per sink: partition to the index of its unfinished batch in messages
	bytes    int           // of the messages, about
	before   extent        // what there was when the record in hand was begun
	log      []batchChange
}

// extent is how far an outbox has grown.
type extent struct{ messages, bytes int }

func (o *outbox) extent() extent { return extent{len(o.messages), o.bytes} }

// cut takes back what has been added since. Batches are cut by undo.
func (o *outbox) cut(to extent) {
	clear(o.messages[to.messages:])
	o.messages, o.bytes = o.messages[:to.messages], to.bytes
}

// batchChange is what the open batch of a partition was before a record was added.
type batchChange struct {
	sink, partition int
	index, length   int // of the batch in messages, and of its data
	open            bool
}

// outMessage is one message to be published.
type outMessage struct {
	sink      int
	partition int
	key       string
	headers   stream.Headers
	data      []byte
}

// messageOverhead is room for subject, message id and the protocol's own bytes in the server's limit.
const messageOverhead = 512

// recordOverhead is what a record takes in a commit beside its key, headers and bytes, about.
const recordOverhead = 16

// batchTarget is the size at which a batch of repartitioned records is closed, in bytes. Reading large messages costs
// least per record at some tens of kilobytes; more only adds latency.
const batchTarget = 64 << 10

func (o *outbox) init(sinks int) { o.open = make([]map[int]int, sinks) }

func (o *outbox) reset() {
	o.messages, o.bytes = nil, 0 // handed over to the commit
	for _, m := range o.open {
		clear(m)
	}
}

// Emit sends a record with the next commit. It is refused when the server would refuse it.
func (t *Task) Emit(r *Emitted) error {
	size := len(r.Key) + len(r.Data) + messageOverhead
	for name, values := range r.Headers {
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	sink := t.plan.Sinks[r.Sink]
	if sink.Topic.KeyIn == stream.Header {
		size += len(stream.KeyHeader) + 4 + 2*len(r.Key) // escaped, a byte is three at most
	}
	if size > t.maxMessage {
		return fmt.Errorf("a record for topic %s has %d bytes, the server takes messages up to %d (max_payload): make it smaller or raise the limit",
			sink.Topic.Name, size, t.maxMessage)
	}
	size -= messageOverhead - recordOverhead
	if sink.Internal {
		t.changed = true
		t.note(&t.outbox)
		t.outbox.bytes += size
		t.outbox.addToBatch(r, min(batchTarget, t.maxMessage-size-messageOverhead))
		return nil
	}
	if !sink.External {
		if err := sink.Topic.CheckKey(r.Key); err != nil {
			return err
		}
	}
	t.changed = true
	t.outbox.bytes += size
	t.outbox.messages = append(t.outbox.messages, outMessage{
		sink: r.Sink, partition: r.Partition, key: r.Key, headers: r.Headers, data: r.Data,
	})
	return nil
}

func (o *outbox) addToBatch(r *Emitted, room int) {
	open := o.open[r.Sink]
	if open == nil {
		open = make(map[int]int)
		o.open[r.Sink] = open
	}
	i, ok := open[r.Partition]
	change := batchChange{sink: r.Sink, partition: r.Partition, index: i, open: ok}
	if ok {
		change.length = len(o.messages[i].data)
	}
	o.log = append(o.log, change)
	if !ok || len(o.messages[i].data) > room {
		i = len(o.messages)
		o.messages = append(o.messages, outMessage{sink: r.Sink, partition: r.Partition, key: BatchKey})
		open[r.Partition] = i
	}
	o.messages[i].data = appendBatchRecord(o.messages[i].data, r)
}

// Pending is how many bytes the next commit will have, about: what is to be sent, and as much state for each record as in the last one.
func (t *Task) Pending() int { return t.outbox.bytes + t.steps*t.stateBytes }

// undo takes the record that was added last out of its batch. A batch that was begun for it goes with Rollback.
func (o *outbox) undo() {
	c := popLast(&o.log)
	if !c.open {
		delete(o.open[c.sink], c.partition)
		return
	}
	o.open[c.sink][c.partition] = c.index
	o.messages[c.index].data = o.messages[c.index].data[:c.length]
}

func (o *outbox) forget() { o.log = forgetAll(o.log) }

// outgoing gives the messages of a commit their identities: the same commit always has the same ones.
func outgoing(plan *Plan, task string, number uint64, messages []outMessage) []stream.Outgoing {
	if len(messages) == 0 {
		return nil
	}
	prefix := plan.App + "/" + task + "/" + strconv.FormatUint(number, 10) + "/"
	all := make([]byte, 0, len(messages)*(len(prefix)+5)) // one string holds all ids
	ends := make([]int, len(messages))
	for i := range messages {
		all = strconv.AppendInt(append(all, prefix...), int64(i), 10)
		ends[i] = len(all)
	}
	ids, start := string(all), 0
	out := make([]stream.Outgoing, len(messages))
	for i, m := range messages {
		out[i] = stream.Outgoing{
			Topic: plan.Sinks[m.sink].Topic, Partition: m.partition, Key: m.key, Data: m.data, Headers: m.headers,
			ID: ids[start:ends[i]],
		}
		start = ends[i]
	}
	return out
}
