package syslogd

import (
	"bytes"
	"fmt"
	"time"
)

// ahead is how far into the future a message may seem to be: clocks of small devices are off by hours and days, and
// without a year "Dec 31" in January must be last year's.
const ahead = 7 * 24 * time.Hour

// leapGap is the longest distance between two leap years (1896 and 1904): some of so many years has a 29th of February.
const leapGap = 8

// cutTime splits a time off the beginning of s: RFC 3339, or "Mmm dd [yyyy] hh:mm:ss[.fraction]". The zero time means that s
// does not begin with one; a time that no clock shows, such as Nov 31, is an error.
func cutTime(s []byte, opts Options) (when time.Time, rest []byte, err error) {
	word, rest, _ := bytes.Cut(s, []byte(" "))
	if len(word) > 10 && word[4] == '-' && word[7] == '-' && word[10] == 'T' && isDigit(word[0]) {
		when, err = time.Parse(time.RFC3339Nano, string(word))
		if err != nil {
			return when, nil, fmt.Errorf("%w: the time %.64q is not of RFC 3339", ErrMalformed, word)
		}
		return when, rest, nil
	}
	month := monthOf(word)
	if month == 0 {
		return time.Time{}, s, nil
	}
	p := stampParser{rest: s[3:]}
	p.spaces()
	day := p.number(1, 2)
	p.spaces()
	year := opts.Year
	if len(p.rest) > 4 && p.rest[4] == ' ' {
		year = p.number(4, 4)
		p.spaces()
	}
	hour := p.number(2, 2)
	p.colon()
	minute := p.number(2, 2)
	p.colon()
	second := p.number(2, 2)
	nanosecond := p.fraction()
	if len(p.rest) > 0 && p.rest[0] != ' ' {
		p.bad = true
	}
	if p.bad {
		return time.Time{}, s, nil // a word such as "May" begins text, too
	}
	if hour > 23 || minute > 59 || second > 60 {
		return when, nil, fmt.Errorf("%w: there is no time %02d:%02d:%02d", ErrMalformed, hour, minute, second)
	}
	location := opts.Location
	if location == nil {
		location = time.Local
	}
	in := func(year int) (time.Time, bool) {
		t := time.Date(year, month, day, hour, minute, second, nanosecond, location)
		// A day that the month has not would silently become one of the next month.
		last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
		return t, day >= 1 && day <= last
	}
	if year != 0 {
		when, ok := in(year)
		if !ok {
			return when, nil, fmt.Errorf("%w: %s %d has no day %d", ErrMalformed, month, year, day)
		}
		return when, p.rest, nil
	}
	if opts.Now.IsZero() {
		return when, nil, ErrNoYear
	}
	thisYear := opts.Now.In(location).Year()
	for year := thisYear + 1; year >= thisYear-leapGap; year-- {
		if when, ok := in(year); ok && when.Sub(opts.Now) <= ahead {
			return when, p.rest, nil
		}
	}
	return when, nil, fmt.Errorf("%w: %s has no day %d", ErrMalformed, month, day)
}

func monthOf(word []byte) time.Month {
	if len(word) != 3 {
		return 0
	}
	switch string(word) {
	case "Jan":
		return time.January
	case "Feb":
		return time.February
	case "Mar":
		return time.March
	case "Apr":
		return time.April
	case "May":
		return time.May
	case "Jun":
		return time.June
	case "Jul":
		return time.July
	case "Aug":
		return time.August
	case "Sep":
		return time.September
	case "Oct":
		return time.October
	case "Nov":
		return time.November
	case "Dec":
		return time.December
	}
	return 0
}

// stampParser reads the parts of a stamp one after the other; bad stays set after the first that does not fit.
type stampParser struct {
	rest []byte
	bad  bool
}

func (p *stampParser) spaces() {
	trimmed := bytes.TrimLeft(p.rest, " ")
	if len(trimmed) == len(p.rest) {
		p.bad = true
	}
	p.rest = trimmed
}

func (p *stampParser) colon() {
	if len(p.rest) == 0 || p.rest[0] != ':' {
		p.bad = true
		return
	}
	p.rest = p.rest[1:]
}

func (p *stampParser) number(minDigits, maxDigits int) (n int) {
	i := 0
	for i < len(p.rest) && i < maxDigits && isDigit(p.rest[i]) {
		n = n*10 + int(p.rest[i]-'0')
		i++
	}
	if i < minDigits {
		p.bad = true
	}
	p.rest = p.rest[i:]
	return n
}

// fraction reads an optional ".123" in nanoseconds; digits beyond the ninth are dropped.
func (p *stampParser) fraction() (nanoseconds int) {
	if len(p.rest) < 2 || p.rest[0] != '.' || !isDigit(p.rest[1]) {
		return 0
	}
	i, scale := 1, 100_000_000
	for ; i < len(p.rest) && isDigit(p.rest[i]); i++ {
		nanoseconds += int(p.rest[i]-'0') * scale
		scale /= 10
	}
	p.rest = p.rest[i:]
	return nanoseconds
}
