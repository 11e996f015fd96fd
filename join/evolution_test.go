package join_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// TestWindowOfAJoinStays starts an app whose join has another window than the one that its state was made with: it is refused.
func TestWindowOfAJoinStays(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	run := func(w join.Window) error {
		b := processor.NewBuilder("app")
		left, right := stream.Topic[int]{Name: "left"}, stream.Topic[int]{Name: "right"}
		w.Name = "paid"
		join.Left(processor.From(b, left), processor.From(b, right), w, func(int, *int) int { return 1 }).To(stream.Topic[int]{Name: "out"})
		topology, err := b.Build()
		require.NoError(t, err)
		return processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(t.Context())
	}
	made := join.Window{Within: time.Minute}
	require.NoError(t, run(made))
	for _, w := range []join.Window{{Within: time.Hour}, {Before: time.Minute}, {Within: time.Minute, Grace: time.Second}} {
		var refused *processor.EvolutionError
		require.ErrorAs(t, run(w), &refused)
		require.ErrorContains(t, refused, "Left, from 1m0s before to 1m0s after, grace 0s, emitted on close")
	}
	require.NoError(t, run(made))
}

var rewrite = flag.Bool("rewrite", false, "rewrite the golden file of the rows")

// TestRowsAreGolden keeps the names and kinds of all that joins keep in rows: a program of tomorrow that has other ones could not
// read what is stored today.
func TestRowsAreGolden(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	b := processor.NewBuilder("app")
	left, right := processor.From(b, stream.Topic[int]{Name: "left"}), processor.From(b, stream.Topic[bool]{Name: "right"})
	lefts := processor.TableFrom(b, stream.Topic[int]{Name: "lefts", Compact: true})
	rights := processor.TableFrom(b, stream.Topic[bool]{Name: "rights", Compact: true})
	to := func(s processor.Stream[string]) { s.Peek(func(processor.Record[string]) {}) }
	in := func(name string) join.Window { return join.Window{Name: name, Within: time.Minute} }
	to(join.Inner(left, right, in("inner"), func(int, bool) string { return "" }).AsStream())
	to(join.Left(left, right, in("left"), func(int, *bool) string { return "" }).AsStream())
	to(join.Outer(left, right, in("outer"), func(*int, *bool) string { return "" }).AsStream())
	to(join.Absence(left, right, in("absence"), func(int) string { return "" }).AsStream())
	to(join.AsOf(left, right, join.Window{Name: "as-of", Before: time.Minute}, func(int, *bool) string { return "" }).AsStream())
	to(join.Collect(left, right, in("collect"), func(int, []bool) string { return "" }).AsStream())
	for name, l := range map[string]join.Lookup{"table": {}, "history": {History: time.Hour}, "grace": {History: time.Hour, Grace: time.Minute}} {
		l.Name = name
		to(join.Table(left, rights, l, func(int, bool) string { return "" }))
	}
	none := func(name string, t processor.Table[string]) {
		to(processor.Map(t.Changes(), func(processor.Change[string]) string { return name }))
	}
	none("tables", join.TablesOuter(lefts, rights, join.Primary{Name: "tables"}, func(*int, *bool) string { return "" }))
	none("foreign", join.ForeignKeyLeft(lefts, rights, join.Foreign[int]{Name: "foreign", Key: func(int) string { return "" }}, func(int, *bool) string { return "" }))
	topology, err := b.Build()
	require.NoError(t, err)
	require.NoError(t, processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(t.Context()))
	note, _, err := client.GroupNote(t.Context(), "app.app")
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, json.Indent(&text, note, "", " "))
	text.WriteByte('\n')
	file := filepath.Join("testdata", "rows.golden")
	if *rewrite {
		require.NoError(t, os.WriteFile(file, text.Bytes(), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text.String())
}
