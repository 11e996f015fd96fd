package stream

import (
	"cmp"
	"slices"
)

// Assign shares items out among members: rendezvous hashing with bounded load.
// Every item would like the member with which it scores highest, and gets the
// best one that has room; no member has two items more than another. It is a pure
// function of the two sets, whatever their order, so that all who know the same
// members come to the same result without a leader. When a member comes or goes,
// little more moves than what it takes or leaves. The result maps item to member;
// it is empty where there are no members.
func Assign(members, items []string) map[string]string {
	out := make(map[string]string, len(items))
	if len(members) == 0 {
		return out
	}
	sorted := slices.Clone(members)
	slices.Sort(sorted)
	hashes := make([]uint64, len(sorted))
	for i, m := range sorted {
		hashes[i] = hashName(m)
	}
	share, extra := len(items)/len(sorted), len(items)%len(sorted)
	load := make([]int, len(sorted))
	for _, w := range byHash(items) {
		best, score := -1, uint64(0)
		for i, h := range hashes {
			if load[i] > share || load[i] == share && extra == 0 {
				continue
			}
			if s := mix(w.hash ^ h); best < 0 || s > score {
				best, score = i, s
			}
		}
		if load[best] == share {
			extra-- // one of those that have one more than the others
		}
		load[best]++
		out[w.name] = sorted[best]
	}
	return out
}

// Standby gives the member that is second for an item: the one with the highest
// score that does not own it. It is the likely next owner, and so the one to keep
// a copy warm. Empty: there is no other member.
func Standby(members []string, item, owner string) string {
	second, score := "", uint64(0)
	h := hashName(item)
	for _, m := range members {
		if m == owner {
			continue
		}
		if s := mix(h ^ hashName(m)); second == "" || s > score || s == score && m < second {
			second, score = m, s
		}
	}
	return second
}

// firstTwo gives for each item the two members with which it scores highest, the first one first: Standby with nobody as the owner, and with that one.
// It hashes each name once: there may be millions of pairs.
func firstTwo(members, items []string) map[string][2]string {
	if len(members) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(members))
	hashes := make([]uint64, len(sorted))
	for i, m := range sorted {
		hashes[i] = hashName(m)
	}
	out := make(map[string][2]string, len(items))
	for _, item := range items {
		h := hashName(item)
		first, second := -1, -1
		var high, next uint64
		for i, member := range hashes {
			switch s := mix(h ^ member); {
			case first < 0 || s > high:
				first, second, high, next = i, first, s, high
			case second < 0 || s > next:
				second, next = i, s
			}
		}
		pair := [2]string{sorted[first]}
		if second >= 0 {
			pair[1] = sorted[second]
		}
		out[item] = pair
	}
	return out
}

type hashed struct {
	name string
	hash uint64
}

// byHash orders items by hash, so that no part of their numbers is served last.
func byHash(items []string) []hashed {
	out := make([]hashed, len(items))
	for i, item := range items {
		out[i] = hashed{item, hashName(item)}
	}
	slices.SortFunc(out, func(a, b hashed) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.name, b.name))
	})
	return out
}

// hashName is FNV-1a with its bits mixed: short names that differ in one digit are
// far apart.
func hashName(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h ^= uint64(s[i])
		h *= 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of MurmurHash3.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return x
}
