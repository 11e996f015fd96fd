package processor_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files of descriptions")

// everything is a topology with one of each: joins, stores, repartitions, branches, policies, dead letters.
func everything(t *testing.T) *processor.Topology {
	t.Helper()
	b := processor.NewBuilder("everything")
	b.DeadLetters(stream.Topic[[]byte]{Name: "graveyard", Partitions: 2})
	b.OnFailure(processor.Skip)
	left := processor.From(b, stream.Topic[line]{Name: "left", Partitions: 4, Time: lines.Time})
	right := processor.From(b, stream.Topic[line]{Name: "right", Partitions: 4, Time: lines.Time}).OnFailure(processor.DeadLetter)
	both := processor.Process(left.Merge(right), "pairs", func(c *processor.Context[string]) processor.Handler[line] {
		processor.WindowStore[line](c, "left", time.Minute)
		processor.WindowStore[line](c, "right", time.Minute)
		return processor.Handler[line]{Record: func(processor.Record[line]) error { return nil }}
	}).OnFailure(processor.Stop)
	left.Filter(func(l line) bool { return l.Text == "" }).
		To(stream.Topic[line]{Name: "empty", Partitions: 4}).OnFailure(processor.DeadLetter)
	hot, cold := both.Branch(
		func(s string) bool { return s == "hot" },
		func(s string) bool { return s == "warm" },
	)
	words := processor.FlatMap(processor.Union(hot[0], cold), strings.Fields)
	byWord := processor.KeyBy(words, "by-word", strings.ToLower).OnFailure(processor.Retry{Attempts: 3, Then: processor.Stop})
	processor.Process(byWord, "count", countWords).To(counts)
	byLength := processor.KeyBy(hot[1].Peek(func(processor.Record[string]) {}), "by-length", func(s string) string { return s })
	processor.Process(byLength.Merge(byWord.Filter(func(s string) bool { return s != "" })), "last", func(c *processor.Context[int]) processor.Handler[string] {
		processor.KeyValueStore[int](c, "a")
		processor.WindowStore[int](c, "b", time.Hour)
		return processor.Handler[string]{Record: func(processor.Record[string]) error { return nil }}
	})
	return build(t, b)
}

func TestDescriptionsAreGolden(t *testing.T) {
	for name, topology := range map[string]*processor.Topology{"everything": everything(t), "wordcount": wordCount(t)} {
		for suffix, text := range map[string]string{".txt": topology.String(), ".mmd": topology.Mermaid()} {
			golden := filepath.Join("testdata", name+suffix)
			if *rewrite {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(golden, []byte(text), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), text, golden)
		}
	}
}

var (
	mermaidNode = regexp.MustCompile(`^ +(\w+)(?:\["([^"]*)"\]|\(\["([^"]*)"\]\)|\[\("([^"]*)"\)\])$`)
	mermaidBox  = regexp.MustCompile(`^  subgraph (\w+)\["[^"]*"\]$`)
	mermaidEdge = regexp.MustCompile(`^ +(\w+) (?:-->|---|-\. dead letters \.->) (\w+)$`)
)

// TestMermaidIsWellFormed reads charts as Mermaid does: every line is a node, a box, its end or an edge, every node is defined once and
// before it is used, and every operator and topic is there.
func TestMermaidIsWellFormed(t *testing.T) {
	for _, topology := range []*processor.Topology{everything(t), wordCount(t)} {
		rows := strings.Split(strings.TrimSuffix(topology.Mermaid(), "\n"), "\n")
		require.Equal(t, "flowchart TD", rows[0])
		nodes, depth, operators := map[string]bool{}, 0, 0
		define := func(name string) {
			require.False(t, nodes[name], "%s is defined twice", name)
			nodes[name] = true
		}
		for _, row := range rows[1:] {
			if m := mermaidBox.FindStringSubmatch(row); m != nil {
				define(m[1])
				depth++
			} else if row == "  end" {
				depth--
			} else if m := mermaidEdge.FindStringSubmatch(row); m != nil {
				require.True(t, nodes[m[1]] && nodes[m[2]], "%s leads nowhere", row)
			} else if m := mermaidNode.FindStringSubmatch(row); m != nil {
				define(m[1])
				if m[2] != "" {
					operators++
				}
			} else {
				t.Fatalf("this is no line of a flowchart: %q", row)
			}
			require.Contains(t, []int{0, 1}, depth)
		}
		require.Zero(t, depth)
		require.Equal(t, strings.Count(topology.String(), "\n    "), operators)
	}
}

func TestBranchTakesTheFirstThatIsPleased(t *testing.T) {
	b := processor.NewBuilder("branching")
	topic := func(name string) stream.Topic[int] { return stream.Topic[int]{Name: name} }
	branches, rest := processor.From(b, ints).Branch(
		func(n int) bool { return n < 10 },
		func(n int) bool { return n < 100 },
	)
	branches[0].To(topic("small"))
	branches[1].To(topic("medium"))
	rest.To(topic("large"))
	processor.Union(branches[0], rest).To(topic("extreme"))
	none, all := branches[1].Branch()
	require.Empty(t, none)
	all.To(topic("medium-too"))
	d := processortest.New(t, build(t, b))
	pipe(d, 5, 50, 500, 10, 9)
	require.Equal(t, []int{5, 9}, values(processortest.Read(d, topic("small"))))
	require.Equal(t, []int{50, 10}, values(processortest.Read(d, topic("medium"))))
	require.Equal(t, []int{50, 10}, values(processortest.Read(d, topic("medium-too"))))
	require.Equal(t, []int{500}, values(processortest.Read(d, topic("large"))))
	require.Equal(t, []int{5, 500, 9}, values(processortest.Read(d, topic("extreme"))))

	var zero processor.Stream[int]
	nothing, left := zero.Branch(func(int) bool { return true })
	require.Equal(t, []processor.Stream[int]{{}}, nothing)
	require.Equal(t, zero, left)
	require.Equal(t, zero, processor.Union(zero))
}

// TestBuildFindsWhatCannotWork makes each mistake alone: it must be reported with the line of the call, and nothing else with it.
func TestBuildFindsWhatCannotWork(t *testing.T) {
	keep := func(int) bool { return true }
	do := func(*processor.Context[int]) processor.Handler[int] {
		return processor.Handler[int]{Record: func(processor.Record[int]) error { return nil }}
	}
	for want, describe := range map[string]func(b *processor.Builder){
		`topic "ints" is read and nobody takes its records`: func(b *processor.Builder) { processor.From(b, ints) },
		"the stream of this filter ends nowhere":            func(b *processor.Builder) { processor.From(b, ints).Filter(keep) },
		"the stream of this repartition by ends nowhere": func(b *processor.Builder) {
			processor.KeyBy(processor.From(b, ints), "by", func(int) string { return "" })
		},
		"Filter needs a function, got nil":    func(b *processor.Builder) { processor.From(b, ints).Filter(nil).To(passed) },
		"Process p needs a function, got nil": func(b *processor.Builder) { processor.Process[int, int](processor.From(b, ints), "p", nil) },
		"Branch needs a function, got nil":    func(b *processor.Builder) { processor.From(b, ints).Branch(keep, nil) },
		`what comes of it is written to it here`: func(b *processor.Builder) {
			again := processor.KeyBy(processor.From(b, ints), "by", func(int) string { return "" })
			again.To(ints)
		},
		`topic "passed" is described differently`: func(b *processor.Builder) {
			in := processor.From(b, ints)
			in.To(passed)
			in.To(stream.Topic[int]{Name: "passed", Partitions: 3})
		},
		`is the repartition topic of a KeyBy`: func(b *processor.Builder) {
			in := processor.From(b, ints)
			processor.Process(processor.KeyBy(in, "by", func(int) string { return "" }), "p", do)
			in.To(stream.Topic[int]{Name: "wrong-by"})
		},
		`a KeyBy and a topic are both named "ints"`: func(b *processor.Builder) {
			processor.Process(processor.KeyBy(processor.From(b, ints), "ints", func(int) string { return "" }), "p", do)
		},
		"gets the dead letters of this topology, which cannot read it as well": func(b *processor.Builder) {
			processor.From(b, stream.Topic[int]{Name: "wrong-dead-letters"}).To(passed)
		},
		`DeadLetters: stream: topic "no.such" is not valid`: func(b *processor.Builder) {
			b.DeadLetters(stream.Topic[[]byte]{Name: "no.such"})
			processor.From(b, ints).To(passed)
		},
		`cannot have a store named "timers"`: func(b *processor.Builder) {
			processor.Process(processor.From(b, ints), "p", func(c *processor.Context[int]) processor.Handler[int] {
				processor.KeyValueStore[int](c, "timers")
				return do(c)
			})
		},
		"Retry.Attempts is 1": func(b *processor.Builder) {
			processor.From(b, ints).To(passed).OnFailure(processor.Retry{Attempts: 1})
		},
		"nor longer than MaxBackoff": func(b *processor.Builder) {
			b.OnFailure(processor.Retry{Backoff: 2, MaxBackoff: 1})
			processor.From(b, ints).To(passed)
		},
		"there is no policy outcome(9)": func(b *processor.Builder) {
			processor.From(b, ints).OnFailure(processor.Outcome(9)).To(passed)
		},
		"OnFailure needs a policy, got nil": func(b *processor.Builder) {
			processor.From(b, ints).OnFailure(nil).To(passed)
		},
	} {
		b := processor.NewBuilder("wrong")
		describe(b)
		_, err := b.Build()
		require.ErrorIs(t, err, processor.ErrTopology, want)
		require.ErrorContains(t, err, want)
		rows := strings.Split(err.Error(), "\n")
		require.Len(t, rows, 2, want)
		require.Contains(t, rows[1], "processor/describe_test.go:", want)
	}
	// Reading what another part writes is no cycle.
	b := processor.NewBuilder("right")
	processor.From(b, ints).To(passed)
	processor.From(b, passed).Peek(func(processor.Record[int]) {})
	build(t, b)
}
