package processor

import (
	"fmt"
	"sync"

	"github.com/rossby-streams/rossby/stream"
)

// GlobalTable is a table of which every instance of the app has all rows, of all partitions: it is looked up by any key, from any task.
// It is for tables that are small. Make one with GlobalTableFrom, look rows up with Lookups, or with join.Global.
type GlobalTable[V any] struct {
	b *Builder
	v *vertex
}

// GlobalTableFrom reads a topic as a global table: a record sets the value of its key, a tombstone (a record without data) deletes it.
// Give the topic Compact. Before any task processes its first record, all that the topic held when the app started has been read;
// later updates are seen when they arrive, in no fixed order to the records that look them up, whatever their event times
// . So a record that a crash makes the app process again may find another row.
//
// Rows are kept in memory, once for all tasks of an instance, and are read again at every start; nothing of them is in a journal. A
// record that cannot be decoded leaves the row as it was and the logger is told, since the topic keeps the record; under the policy
// Stop, Run ends with an error.
func GlobalTableFrom[V any](b *Builder, topic stream.Topic[V]) GlobalTable[V] {
	at := callSite()
	v := b.add(&vertex{kind: kindGlobal, name: topic.Name, at: at, topic: topic.Spec()})
	if err := v.topic.Validate(); err != nil {
		b.mistake(at, "GlobalTableFrom: %v", err)
	}
	codec := topic.Codec
	if codec == nil {
		codec = stream.JSON[V]()
	}
	v.global = func() Global {
		rows := &globalRows[V]{topic: topic.Name, codec: codec, rows: make(map[string]V)}
		return Global{Topic: v.topic, Rows: rows, Apply: rows.apply}
	}
	return GlobalTable[V]{b, v}
}

// Global is a global table as it is filled; it is for processortest.
type Global struct {
	Topic stream.TopicSpec
	// Rows are what tasks find under the topic's name in their world.
	Rows any
	// Apply takes a record of the topic. An error leaves the row as it was.
	Apply func(stream.Message) error
}

// Globals returns the global tables of the topology, empty; it is for processortest.
func (t *Topology) Globals() []Global {
	all := make([]Global, len(t.globals))
	for i, v := range t.globals {
		all[i] = v.global()
	}
	return all
}

// globalRows holds the rows. Readers fill it while tasks look rows up.
type globalRows[V any] struct {
	topic string
	codec stream.Codec[V]
	mu    sync.RWMutex
	rows  map[string]V
}

func (g *globalRows[V]) apply(m stream.Message) error {
	if len(m.Data) == 0 {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.rows, m.Key)
		return nil
	}
	value, err := decodeRow(g.codec, m.Data)
	if err != nil {
		return fmt.Errorf("topic %s, partition %d, offset %d: decode the row of key %q: %w", g.topic, m.Partition, m.Offset, m.Key, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rows[m.Key] = value
	return nil
}

// count returns how many rows there are.
func (g *globalRows[V]) count() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.rows)
}

// decodeRow guards the user's codec.
func decodeRow[V any](codec stream.Codec[V], data []byte) (v V, err error) {
	defer recoverInto(&err)
	return codec.Decode(data)
}

// Lookups looks up the rows of a global table from an operator. It belongs to the operator that made it.
type Lookups[V any] struct {
	find func() *globalRows[V]
	rows *globalRows[V] // from the first look-up on
}

// LookupsIn gives an operator the rows of a global table. It is called in the function given to Process, not later.
func LookupsIn[V, Out any](c *Context[Out], t GlobalTable[V]) *Lookups[V] {
	if c.w.probe != nil {
		if t.v == nil || c.w.probe.b != t.b {
			c.w.probe.mistake(callSite(), "operator %s looks up a global table of another Builder, or a zero GlobalTable", c.vertex.name)
			return &Lookups[V]{}
		}
		c.vertex.globals = append(c.vertex.globals, t.v)
	}
	op, name := c.op, t.v.topic.Name
	return &Lookups[V]{find: func() *globalRows[V] { return op.task.World().Globals[name].(*globalRows[V]) }}
}

// Get returns the row of key as it is now, and whether there is one.
func (l *Lookups[V]) Get(key string) (V, bool) {
	if l.rows == nil {
		l.rows = l.find()
	}
	l.rows.mu.RLock()
	defer l.rows.mu.RUnlock()
	v, ok := l.rows.rows[key]
	return v, ok
}
