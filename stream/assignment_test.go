package stream_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/stream"
)

func names(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = prefix + strconv.Itoa(i)
	}
	return out
}

func loads(members []string, owners map[string]string) (least, most int) {
	load := make(map[string]int, len(members))
	for _, m := range owners {
		load[m]++
	}
	least = len(owners)
	for _, m := range members {
		least, most = min(least, load[m]), max(most, load[m])
	}
	return least, most
}

func moved(a, b map[string]string) int {
	n := 0
	for item, owner := range a {
		if b[item] != owner {
			n++
		}
	}
	return n
}

// Balance, completeness and independence of order.
func TestAssign(t *testing.T) {
	require.Empty(t, stream.Assign(nil, names("", 3)))
	rapid.Check(t, func(rt *rapid.T) {
		members := names(rapid.StringMatching("[a-z]{1,3}").Draw(rt, "prefix"), rapid.IntRange(1, 40).Draw(rt, "members"))
		items := names("", rapid.IntRange(0, 200).Draw(rt, "items"))
		owners := stream.Assign(members, items)
		require.Len(rt, owners, len(items))
		least, most := loads(members, owners)
		require.LessOrEqual(rt, most-least, 1)
		seed := rapid.Uint64().Draw(rt, "seed")
		r := rand.New(rand.NewPCG(seed, 0))
		shuffled, others := slices.Clone(members), slices.Clone(items)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		r.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		require.Equal(rt, owners, stream.Assign(shuffled, others))
		for item, owner := range owners {
			standby := stream.Standby(members, item, owner)
			require.NotEqual(rt, owner, standby)
			require.Equal(rt, len(members) > 1, standby != "")
		}
	})
}

// What moves when one member comes or goes, against the least that can move.
func TestAssignMovesLittle(t *testing.T) {
	for _, size := range [][2]int{{8, 2}, {8, 3}, {64, 3}, {64, 8}, {1000, 10}} {
		items, rounds := names("", size[0]), 50
		came, went := 0, 0
		for round := range rounds {
			members := names(fmt.Sprint("m", round, "-"), size[1]+1)
			owners := stream.Assign(members[:size[1]], items)
			came += moved(owners, stream.Assign(members, items))
			went += moved(owners, stream.Assign(members[:size[1]-1], items))
		}
		least := float64(rounds*size[0]) / float64(size[1]+1)
		leastWent := float64(rounds*size[0]) / float64(size[1])
		t.Logf("%d items, %d members: one comes, %.2f of the least moves; one goes, %.2f", size[0], size[1], float64(came)/least, float64(went)/leastWent)
		require.Less(t, float64(came), 1.8*least)
		require.Less(t, float64(went), 1.8*leastWent)
	}
}

func TestAssignTenThousandTasks(t *testing.T) {
	members, items := names("member-", 1000), names("task-", 10_000)
	start := time.Now()
	owners := stream.Assign(members, items)
	t.Logf("10,000 tasks on 1,000 members took %v", time.Since(start))
	least, most := loads(members, owners)
	require.Equal(t, 10, least)
	require.Equal(t, 10, most)
	after := stream.Assign(members[:999], items)
	least, most = loads(members[:999], after)
	require.LessOrEqual(t, most-least, 1)
	t.Logf("one of 1,000 members goes: %d of 10,000 tasks move, 10 at least", moved(owners, after))
}

// TestAssignThroughChanges simulates 10,000 tasks on 1,000 members through changes of many sizes, and prints for each what moves, the least
// that can move, and the balance.
func TestAssignThroughChanges(t *testing.T) {
	items := names("task-", 10_000)
	members := names("member-", 1000)
	for _, c := range []struct {
		what     string
		from, to int
	}{
		{"one goes", 1000, 999}, {"one comes", 999, 1000}, {"10 go", 1000, 990}, {"10 come", 990, 1000},
		{"100 go, a rack", 1000, 900}, {"100 come", 900, 1000}, {"half go", 1000, 500},
	} {
		before, after := stream.Assign(members[:c.from], items), stream.Assign(members[:c.to], items)
		floor := leastMoves(before, members[:c.to], len(items))
		moves := moved(before, after)
		low, high := loads(members[:c.to], after)
		t.Logf("%-15s %4d -> %4d members: %5d tasks move, %5d at least; %d to %d tasks each", c.what, c.from, c.to, moves, floor, low, high)
		require.LessOrEqual(t, high-low, 1)
		require.LessOrEqual(t, moves, 2*floor+len(items)/20)
	}
}

// leastMoves is how many tasks must move so that members have shares that differ by one at most: those of who has gone, and what is above the
// new shares.
func leastMoves(before map[string]string, members []string, tasks int) int {
	load := make(map[string]int, len(members))
	for _, m := range members {
		load[m] = 0
	}
	gone := 0
	for _, owner := range before {
		if _, ok := load[owner]; ok {
			load[owner]++
		} else {
			gone++
		}
	}
	share, extra := tasks/len(members), tasks%len(members)
	above := 0
	for _, n := range load {
		if n > share && extra > 0 {
			extra--
			n--
		}
		above += max(n-share, 0)
	}
	return gone + above
}
