package join_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// TestPolicyOfAJoin sets the policy of a join through its result: it must hold for all that the join is made of, and for nothing
// else.
func TestPolicyOfAJoin(t *testing.T) {
	b := processor.NewBuilder("app")
	left := processor.From(b, sides[0]).Filter(func(string) bool { return true })
	out := join.Inner(left, processor.From(b, sides[1]), join.Window{Name: "w", Within: time.Minute}, func(l, r string) string {
		if l == "bad" {
			panic("no such pair")
		}
		return l + r
	})
	out.OnFailure(processor.Skip)
	out.To(sink)
	late, _ := out.Late()
	late.To(stream.Topic[string]{Name: "late", Codec: stream.String()})
	topology, err := b.Build()
	require.NoError(t, err)
	require.Equal(t, `topology app
  sub-topology left, 1 partitions
    1 source left
    2 filter <- 1
    3 source right
    4 map (on failure: skip) <- 2
    5 map (on failure: skip) <- 3
    6 merge (on failure: skip) <- 4, 5
    7 process w (stores left, right) (on failure: skip) <- 6
    8 filter (on failure: skip) <- 7
    9 map (on failure: skip) <- 8
    10 sink results <- 9
    11 filter <- 7
    12 map <- 11
    13 filter <- 7
    14 map <- 13
    15 sink late <- 12
`, topology.String())
	require.Equal(t, 15, strings.Count(topology.Mermaid(), `["`)-strings.Count(topology.Mermaid(), `(["`)-1, "one box each, and the sub-topology")
	d := processortest.New(t, topology)
	processortest.Pipe(d, sides[0], processor.Record[string]{Key: "k", Value: "bad", Time: time.Unix(1, 0)}, processor.Record[string]{Key: "k", Value: "good", Time: time.Unix(2, 0)})
	processortest.Pipe(d, sides[1], processor.Record[string]{Key: "k", Value: "+", Time: time.Unix(3, 0)})
	require.NoError(t, d.Err())
	results := processortest.Read(d, sink)
	require.Len(t, results, 1)
	require.Equal(t, "good+", results[0].Value)
	require.Empty(t, d.DeadLetters())
}
