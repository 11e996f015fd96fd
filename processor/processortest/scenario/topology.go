package scenario

import (
	"fmt"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Bind makes an operator of its description in t. An error that wraps ErrNotApplicable makes the case one that cannot be run
// here.
type Bind func(t *Topology, op Operator) (Result, error)

// Result is what an operator gives: a stream of values as texts. A nil value says that there is none any more.
type Result struct {
	processor.Stream[*string]
}

// Topology is the topology of one case in the making.
type Topology struct {
	b       *processor.Builder
	app     string
	kinds   map[string]Bind
	streams map[string]processor.Stream[string]
	specs   map[string]stream.TopicSpec // of the topics that are read, by their name in the case
	tables  map[string]bool             // those which take tombstones
	read    map[string]processor.Table[string]
	globals map[string]processor.GlobalTable[string]
	sinks   []processor.Stream[entry]
	remote  []processor.Stream[entry] // fences in another sub-topology
	names   int
	table   bool // updates of a table are shown
}

// entry is what the one topic that a case writes is made of: all that can be seen of an operator, in the order in which it
// came. Dead letters go there, too, and are told by their headers.
type entry struct {
	Kind   entryKind `json:"kind"`
	Value  *string   `json:"value"`
	At     int64     `json:"at"` // nanoseconds, here and below
	Window *[2]int64 `json:"window"`
	Fence  string    `json:"fence"`
	Seen   []string  `json:"seen"` // by the fence: the last rows that global tables have taken
}

type entryKind string

const (
	outputEntry entryKind = "output"
	lateEntry   entryKind = "late"
	rowEntry    entryKind = "row" // an update of the table; a nil value is a row that is gone
	fenceEntry  entryKind = "fence"
)

// fenceTopic is the topic whose records come out as they went in, after everything that came before them.
const fenceTopic = "fence"

// partition of everything: a case is about one.
const partition = 0

func memoryTopic[V any](name string) stream.Topic[V] {
	return stream.Topic[V]{Name: name, Storage: stream.Memory}
}

// wire builds the topology of a case, named app.
func wire(c *Case, app string, kinds map[string]Bind, keep processor.Medium) (*processor.Topology, *Topology, error) {
	t := &Topology{
		b: processor.NewBuilder(app), app: app, kinds: kinds, streams: make(map[string]processor.Stream[string]),
		specs: make(map[string]stream.TopicSpec), tables: make(map[string]bool),
		read: make(map[string]processor.Table[string]), globals: make(map[string]processor.GlobalTable[string]),
	}
	t.b.KeepState(keep)
	result, err := t.bind(c.Operator)
	if err != nil {
		return nil, nil, err
	}
	for i := range c.steps {
		if c.steps[i].ExpectTable != nil && !t.table {
			return nil, nil, fmt.Errorf("step %d: %w", i+1, NotApplicable("expect_table: operator %s has no table to look into", c.Operator.Kind))
		}
		if in := c.steps[i].Input; in != nil {
			if _, ok := t.specs[in.Topic]; !ok {
				return nil, nil, fmt.Errorf("step %d: %w", i+1, malformed("the operator does not read topic %q", in.Topic))
			}
		}
	}
	t.show(result.Stream, outputEntry)
	t.sinks = append(t.sinks, t.fence(fenceTopicKey))
	out := memoryTopic[entry](t.out())
	t.sinks[0].Merge(t.sinks[1:]...).To(out)
	for _, s := range t.remote {
		s.To(out)
	}
	t.b.DeadLetters(memoryTopic[[]byte](out.Name))
	topology, err := t.b.Build()
	if err != nil {
		return nil, nil, fmt.Errorf("build the topology of the case: %w", err)
	}
	return topology, t, nil
}

func (t *Topology) out() string { return t.app + "-out" }

// Name returns a name for an operator, unique in the topology and the same in every run of the case.
func (t *Topology) Name() string {
	t.names++
	return fmt.Sprintf("op%d", t.names)
}

// Stream returns the stream of a topic of the case.
func (t *Topology) Stream(topic string) processor.Stream[string] {
	if s, ok := t.streams[topic]; ok {
		return s
	}
	in := memoryTopic[string](t.input(topic))
	t.specs[topic] = in.Spec()
	t.streams[topic] = processor.From(t.b, in)
	return t.streams[topic]
}

// input gives a topic of the case its name on the server; the one in the file may have letters that no topic may.
func (t *Topology) input(topic string) string {
	return fmt.Sprintf("%s-in%d", t.app, len(t.specs)+1)
}

// Values returns the stream of a source whose values are never null: a topic, or an operator that takes nothing back.
func (t *Topology) Values(s Source) (processor.Stream[string], error) {
	if s.Operator == nil {
		return t.Stream(s.Topic), nil
	}
	result, err := t.bind(*s.Operator)
	if err != nil {
		return processor.Stream[string]{}, err
	}
	given := result.Filter(func(v *string) bool { return v != nil })
	return processor.Map(given, func(v *string) string { return *v }), nil
}

func (t *Topology) bind(op Operator) (Result, error) {
	bind, ok := t.kinds[op.Kind]
	if !ok {
		return Result{}, NotApplicable("no operator of kind %q is known here", op.Kind)
	}
	return bind(t, op)
}

// Late counts the records of s as dropped.
func (t *Topology) Late(s processor.Stream[string]) {
	t.show(Pointers(s).Stream, lateEntry)
}

// Rows makes the table that expect_table looks into: updates has every new value of a row, nil for one that is gone.
func (t *Topology) Rows(updates processor.Stream[*string]) {
	t.table = true
	t.show(updates, rowEntry)
}

// Pointers makes a result of a stream whose values are never null.
func Pointers(s processor.Upstream[string]) Result {
	return Result{processor.Map(s, func(v string) *string { return &v })}
}

// show sends the records of s to the topic that the case writes, with everything that a topic would not keep of them.
func (t *Topology) show(s processor.Stream[*string], kind entryKind) {
	name := fmt.Sprintf("show%d", len(t.sinks)+1)
	t.sinks = append(t.sinks, processor.Process(s, name, func(c *processor.Context[entry]) processor.Handler[*string] {
		return processor.Handler[*string]{Record: func(r processor.Record[*string]) error {
			e := entry{Kind: kind, Value: r.Value, At: r.Time.UnixNano()}
			if r.Window != (processor.Window{}) {
				e.Window = &[2]int64{r.Window.Start.UnixNano(), r.Window.End.UnixNano()}
			}
			c.Forward(processor.With(r, e))
			return nil
		}}
	}))
}

// Remote tells of a stream beyond a repartition topic of the operator, from where its results come back through another one: on a real
// server, what has come of a record is known once fences have passed there, too.
func (t *Topology) Remote(s processor.Stream[*string]) {
	nothing := processor.FlatMap(s, func(*string) []entry { return nil })
	t.remote = append(t.remote, nothing.Merge(t.fence(remoteFenceKey)))
}

// fence reads a topic of fences, which must be the last: among records of one time the topic that was read first has its turn first.
func (t *Topology) fence(key string) processor.Stream[entry] {
	name := fenceTopic + key
	in := memoryTopic[string](t.app + "-" + name)
	t.specs[key] = in.Spec()
	return processor.Process(processor.From(t.b, in), name, func(c *processor.Context[entry]) processor.Handler[string] {
		var globals []*processor.Lookups[string]
		for _, g := range t.globals {
			globals = append(globals, processor.LookupsIn(c, g))
		}
		return processor.Handler[string]{Record: func(r processor.Record[string]) error {
			e := entry{Kind: fenceEntry, Fence: r.Value}
			for _, g := range globals {
				if id, ok := g.Get(globalFence); ok {
					e.Seen = append(e.Seen, id)
				}
			}
			c.Forward(processor.With(r, e))
			return nil
		}}
	})
}

// The places of the fences among the topics of a case. No topic of a case has the first name; one that has the second is no topic of
// an operator with a remote part.
const (
	fenceTopicKey  = ""
	remoteFenceKey = "-remote"
)

// Keyed is a value with its key, for joiners that need both.
type Keyed struct {
	Key   string
	Value string
}

// WithKeys gives every value its key.
func WithKeys(t *Topology, in processor.Stream[string]) processor.Stream[Keyed] {
	return processor.Process(in, t.Name(), func(c *processor.Context[Keyed]) processor.Handler[string] {
		return processor.Handler[string]{Record: func(r processor.Record[string]) error {
			c.Forward(processor.With(r, Keyed{r.Key, r.Value}))
			return nil
		}}
	})
}

// WithoutKeys takes the keys off again.
func WithoutKeys(in processor.Stream[Keyed]) processor.Stream[string] {
	return processor.Map(in, func(k Keyed) string { return k.Value })
}
