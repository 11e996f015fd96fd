package processor_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Word count: lines are split into words, equal words are brought together, and each new count is told.
func Example_wordCount() {
	lines := stream.Topic[string]{Name: "lines"}
	counts := stream.Topic[int64]{Name: "counts"}

	b := processor.NewBuilder("word-count")
	words := processor.FlatMap(processor.From(b, lines), strings.Fields)
	byWord := processor.KeyBy(words, "by-word", strings.ToLower)
	processor.Count(byWord, processor.Counting{Name: "count"}).To(counts)

	world := newWorld()
	defer world.end()
	send(world, lines, say("", "the quick brown fox"), say("", "The lazy dog and the fox"))
	world.run(b)
	for _, r := range read(world, counts) {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// the 1
	// quick 1
	// brown 1
	// fox 1
	// the 2
	// lazy 1
	// dog 1
	// and 1
	// the 3
	// fox 2
}

// PageView is a page that a visitor has looked at.
type PageView struct {
	Page string    `json:"page"`
	At   time.Time `json:"at"`
}

// Visit is what a visitor looked at without a break of half an hour.
type Visit struct {
	Pages []string      `json:"pages"`
	Took  time.Duration `json:"took"`
}

// Page-view sessions: the pages that a visitor looked at one after another, told once, when no more can come.
func Example_pageViewSessions() {
	views := stream.Topic[PageView]{Name: "views", Time: func(v PageView) time.Time { return v.At }}
	visits := stream.Topic[Visit]{Name: "visits"}

	b := processor.NewBuilder("visits")
	sessions := processor.Aggregate(processor.From(b, views), processor.Aggregation[PageView, []string]{
		Name:    "sessions",
		Windows: processor.Session(30 * time.Minute),
		Grace:   time.Minute,
		Emit:    processor.OnClose,
		Init:    func() []string { return nil },
		Add:     func(pages []string, v PageView) []string { return slices.Concat(pages, []string{v.Page}) },
		Merge:   func(earlier, later []string) []string { return slices.Concat(earlier, later) },
	})
	processor.MapRecord(sessions, func(r processor.Record[[]string]) Visit {
		return Visit{Pages: r.Value, Took: r.Window.End.Sub(r.Window.Start)}
	}).To(visits)

	world := newWorld()
	defer world.end()
	nine := time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)
	send(world, views,
		say("ann", PageView{"home", nine}),
		say("bob", PageView{"home", nine.Add(5 * time.Minute)}),
		say("ann", PageView{"shoes", nine.Add(10 * time.Minute)}),
		say("ann", PageView{"basket", nine.Add(35 * time.Minute)}),
		say("ann", PageView{"home", nine.Add(3 * time.Hour)}),
	)
	world.run(b)
	for _, r := range read(world, visits) {
		fmt.Println(r.Key, r.Value.Pages, r.Value.Took)
	}
	// Output:
	// bob [home] 0s
	// ann [home shoes basket] 35m0s
	// ann [home] 0s
}

// Scan says where a parcel has been seen.
type Scan struct {
	Place string    `json:"place"`
	At    time.Time `json:"at"`
}

// Parcel positions: where each parcel is, as a table. The latest scan by its own time counts, however late it comes in, and a parcel that
// has been delivered has no position any more.
func Example_parcelPositions() {
	scans := stream.Topic[Scan]{Name: "scans", Time: func(s Scan) time.Time { return s.At }}
	positions := stream.Topic[string]{Name: "positions", Compact: true}

	b := processor.NewBuilder("parcels")
	latest := processor.ToTable(processor.From(b, scans), "scanned").ByTime("latest", 24*time.Hour)
	underway := latest.Filter(func(s Scan) bool { return s.Place != "delivered" })
	processor.MapTable(underway, func(s Scan) string { return s.Place }).To(positions)

	world := newWorld()
	defer world.end()
	nine := time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)
	send(world, scans,
		say("p1", Scan{"Bern", nine.Add(time.Hour)}),
		say("p2", Scan{"Rome", nine}),
		say("p1", Scan{"Basel", nine}), // from a scanner that was offline
		say("p2", Scan{"delivered", nine.Add(2 * time.Hour)}),
	)
	world.run(b)
	for _, r := range read(world, positions) {
		fmt.Printf("%s %q deleted: %v\n", r.Key, r.Value, r.Tombstone)
	}
	// Output:
	// p1 "Bern" deleted: false
	// p2 "" deleted: true
}
