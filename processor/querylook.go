package processor

import (
	"slices"
	"strconv"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// look fills the page, and returns where the next one begins, if there is one.
func (v *view) look(q *question, p *page) (more string, err error) {
	switch q.verb {
	case verbGet, verbAsOf:
		row, ok := v.lookKey(q)
		if ok {
			_, err = p.add(q.key, row)
		}
		return "", err
	case verbRange:
		return v.lookKeys(q, p)
	case verbAll:
		return v.lookAll(q, p)
	default:
		return v.lookWindows(q, p)
	}
}

func (v *view) lookKey(q *question) (seen, bool) {
	if q.verb == verbAsOf {
		return v.asOf(q.key, q.at)
	}
	return v.get(q.key)
}

// lookKeys visits the keys of the store, and then reads the rows of the first ones. Where keys are in no order it visits all of them.
func (v *view) lookKeys(q *question, p *page) (more string, err error) {
	first, err := v.firstKeys(q, p)
	if err != nil {
		return "", err
	}
	for i, key := range first {
		row, ok := v.get(key)
		if !ok {
			continue
		}
		fits, err := p.add(key, row)
		if err != nil {
			return "", err
		}
		if !fits {
			return stream.EscapeKey(first[i-1]), nil
		}
	}
	if len(first) > q.limit { // some have no value any more
		return stream.EscapeKey(first[q.limit]), nil
	}
	return "", nil
}

// firstKeys returns the first keys that are asked for, in order: as many as the limit says, and one more if there are more.
func (v *view) firstKeys(q *question, p *page) ([]string, error) {
	first := make([]string, 0, q.limit+2)
	from := q.from
	if q.resumed {
		from = max(from, q.after)
	}
	for key, last := range v.keys(from) {
		if err := p.look(); err != nil {
			return nil, err
		}
		if last && (q.to != "" && string(key) >= q.to || len(first) > q.limit && string(key) > first[q.limit]) {
			break
		}
		if string(key) < q.from || q.to != "" && string(key) >= q.to || q.resumed && string(key) <= q.after {
			continue
		}
		if len(first) > q.limit && string(key) >= first[q.limit] {
			continue
		}
		if i, has := slices.BinarySearch(first, string(key)); !has {
			first = slices.Insert(first, i, string(key))
			first = first[:min(len(first), q.limit+1)]
		}
	}
	return first, nil
}

// lookWindows reads the rows of one key by time. A page ends with a time and how many rows of that time it has.
func (v *view) lookWindows(q *question, p *page) (more string, err error) {
	var last time.Time
	same := 0 // rows at last so far
	for row := range v.windows(q.key, q.since, q.until) {
		if err := p.look(); err != nil {
			return "", err
		}
		if !row.at.Equal(last) {
			last, same = row.at, 0
		}
		if row.at.Equal(q.since) && same < q.skip {
			same++
			continue
		}
		fits, err := p.add(q.key, row)
		if err != nil {
			return "", err
		}
		if !fits {
			return strconv.FormatInt(row.at.UnixNano(), 10) + "/" + strconv.Itoa(same), nil
		}
		same++
	}
	return "", nil
}

// lookAll reads the rows of all keys, one key after the other, each by time. A page ends with the key that it has not come to the end of, and with
// how many of its rows it has.
func (v *view) lookAll(q *question, p *page) (more string, err error) {
	var keys []string
	for key := range v.spans() {
		if err := p.look(); err != nil {
			return "", err
		}
		if !q.resumed || key >= q.after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		n := 0
		for row := range v.windows(key, q.since, q.until) {
			if err := p.look(); err != nil {
				return "", err
			}
			if n++; q.resumed && key == q.after && n <= q.skip {
				continue
			}
			fits, err := p.add(key, row)
			if err != nil {
				return "", err
			}
			if !fits {
				return strconv.Itoa(n-1) + "/" + stream.EscapeKey(key), nil
			}
		}
	}
	return "", nil
}
