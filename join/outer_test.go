package join_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
)

// TestRule31_DocumentedTableOfOuterJoins is the table in Kafka Streams' documentation with the rows that left and outer joins add:
// window 15, grace 5. Times are moved by what it takes to pass a window's end, since one that stream time has just reached is still
// open (rule 26).
func TestRule31_DocumentedTableOfOuterJoins(t *testing.T) {
	table := []struct {
		right       bool
		value       string
		time        int
		left, outer []string // what each verb adds
	}{
		{false, "E", 40, nil, nil},
		{false, "F", 61, []string{"E,null@40"}, []string{"E,null@40"}},
		{true, "f", 82, []string{"F,null@61"}, []string{"F,null@61"}},
		{false, "G", 103, nil, []string{"null,f@82"}},
	}
	for name, v := range map[string]verb{"left": leftOnClose, "outer": outerOnClose} {
		t.Run(name, func(t *testing.T) {
			s := newBench(t, v, join.Window{Within: millis(15), Grace: millis(5)}, 1)
			for _, step := range table {
				want := step.outer
				if v == leftOnClose {
					want = step.left
				}
				if step.right {
					s.right("k", step.value, step.time)
				} else {
					s.left("k", step.value, step.time)
				}
				require.Equal(t, append([]string{}, want...), s.got(), "after %s", step.value)
				s.Crash()
			}
			s.CloseAll()
			require.Equal(t, []string{"G,null@103"}, s.got())
		})
	}
}

func TestD9_ARecordWithoutPartnerKeepsItsHeaders(t *testing.T) {
	s := newBench(t, outerOnClose, join.Window{Within: millis(5)}, 1)
	for _, from := range []string{"L", "r"} {
		record := processor.Record[string]{Key: from, Value: from, Time: at(10), Headers: map[string][]string{"From": {from + "'s"}}}
		if from == "L" {
			processortest.Pipe(s.Driver, s.lefts, record)
		} else {
			processortest.Pipe(s.Driver, s.rights, record)
		}
	}
	s.Crash()
	s.CloseAll()
	require.Equal(t, []string{"L,null@10 in 5..15 until 15 from L's", "null,r@10 in 5..15 until 15 from r's"}, s.shown())
}

func TestD3_NothingIsUnmatchedWhileGraceIsOpen(t *testing.T) {
	s := newBench(t, leftOnClose, join.Window{Within: millis(10), Grace: millis(20)}, 1)
	s.left("other", "x", 75)
	s.left("k", "L", 50) // out of order, its window is over, its grace is not
	s.left("other", "x", 80)
	require.Empty(t, s.got())
	s.right("k", "r", 55)
	require.Equal(t, []string{"L,r@55"}, s.got())
	s.left("other", "y", 81)
	require.Empty(t, s.got(), "it has met somebody")
}

func TestAPanicOfOneUnmatchedRecordLeavesTheOthers(t *testing.T) {
	b := processor.NewBuilder("app")
	join.Left(processor.From(b, sides[0]), processor.From(b, sides[1]), join.Window{Name: "j"}, func(l string, r *string) string {
		if l == "bad" {
			return *r
		}
		return l
	}).To(sink)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	for _, v := range []string{"one", "bad", "two"} {
		processortest.Pipe(d, sides[0], processor.Record[string]{Key: "k", Value: v, Time: at(1)})
	}
	d.CloseAll()
	results := processortest.Read(d, sink)
	require.Len(t, results, 2)
	require.Equal(t, []string{"one", "two"}, []string{results[0].Value, results[1].Value})
	letters := d.DeadLetters()
	require.Len(t, letters, 1)
}
