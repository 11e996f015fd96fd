package engine

import (
	"hash/maphash"
	"iter"
)

// hashIndex tells from the hash of a key where its row is, without pointers: the collector has nothing to follow, and keys are kept once,
// with the rows.
type hashIndex struct {
	seed  maphash.Seed
	mask  uint64 // all ones; tests take some, to make keys collide
	refs  map[uint64]uint64
	twins map[string]uint64                 // rows whose hash refs has for another key
	same  func(ref uint64, key []byte) bool // whether the row there has that key
}

func newHashIndex(same func(ref uint64, key []byte) bool) hashIndex {
	return hashIndex{seed: maphash.MakeSeed(), mask: ^uint64(0), refs: make(map[uint64]uint64), same: same}
}

func (x *hashIndex) hash(key []byte) uint64 { return maphash.Bytes(x.seed, key) & x.mask }

// find returns what is known of key.
func (x *hashIndex) find(hash uint64, key []byte) (ref uint64, ok bool) {
	if ref, ok = x.refs[hash]; ok && x.same(ref, key) {
		return ref, true
	}
	if len(x.twins) > 0 {
		ref, ok = x.twins[string(key)]
		return ref, ok
	}
	return 0, false
}

// known returns what is known of a key that is there, without a look at its row.
func (x *hashIndex) known(hash uint64, key []byte) uint64 {
	if len(x.twins) > 0 {
		if ref, twin := x.twins[string(key)]; twin {
			return ref
		}
	}
	return x.refs[hash]
}

// set makes key be found at ref. had says that it was somewhere before.
func (x *hashIndex) set(hash uint64, key []byte, ref uint64, had bool) {
	if len(x.twins) > 0 {
		if _, twin := x.twins[string(key)]; twin {
			x.twins[string(key)] = ref
			return
		}
	}
	if !had {
		if _, taken := x.refs[hash]; taken {
			if x.twins == nil {
				x.twins = make(map[string]uint64)
			}
			x.twins[string(key)] = ref
			return
		}
	}
	x.refs[hash] = ref
}

// remove forgets key, which is there.
func (x *hashIndex) remove(hash uint64, key []byte) {
	if _, twin := x.twins[string(key)]; twin {
		delete(x.twins, string(key))
	} else {
		delete(x.refs, hash)
	}
}

// of yields what is known of the keys with a hash: of one, nearly always.
func (x *hashIndex) of(hash uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		if ref, ok := x.refs[hash]; ok && !yield(ref) {
			return
		}
		if len(x.twins) == 0 {
			return
		}
		for key, ref := range x.twins {
			if x.hash([]byte(key)) == hash && !yield(ref) {
				return
			}
		}
	}
}

// all yields what is known of every key, beside its hash.
func (x *hashIndex) all() iter.Seq2[uint64, uint64] {
	return func(yield func(hash, ref uint64) bool) {
		for hash, ref := range x.refs {
			if !yield(hash, ref) {
				return
			}
		}
		for key, ref := range x.twins {
			if !yield(x.hash([]byte(key)), ref) {
				return
			}
		}
	}
}

func (x *hashIndex) len() int { return len(x.refs) + len(x.twins) }
