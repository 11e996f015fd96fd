package stream

import "time"

// position is what JetStream says about a delivery in its reply subject.
type position struct {
	stream   uint64 // sequence in the backing stream: the offset
	consumer uint64 // sequence of the consumer's deliveries, without holes
	stored   int64  // nanoseconds since 1970
	pending  uint64 // messages behind this one at delivery
}

func (p position) time() time.Time { return time.Unix(0, p.stored) }

// parsePosition reads the reply subject of a delivered message without
// allocating. There are two forms:
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<time>.<pending>[.<random>]
func parsePosition(reply string) (position, error) {
	const prefix = "$JS.ACK."
	if len(reply) < len(prefix) || reply[:len(prefix)] != prefix {
		return position{}, ErrBadReply
	}
	dots := 0
	for i := 0; i < len(reply); i++ {
		if reply[i] == '.' {
			dots++
		}
	}
	var skip int // tokens before <sseq>
	switch tokens := dots + 1; {
	case tokens == 9:
		skip = 5
	case tokens == 11 || tokens == 12:
		skip = 7
	default:
		return position{}, ErrBadReply
	}
	i := 0
	for ; skip > 0; skip-- {
		start := i
		for reply[i] != '.' {
			i++
		}
		if i == start {
			return position{}, ErrBadReply // an empty token
		}
		i++
	}
	var num [4]uint64
	for n := range num {
		start, v := i, uint64(0)
		for ; i < len(reply) && reply[i] != '.'; i++ {
			c := reply[i] - '0'
			if c > 9 || v > (1<<64-1-uint64(c))/10 {
				return position{}, ErrBadReply
			}
			v = v*10 + uint64(c)
		}
		if i == start {
			return position{}, ErrBadReply
		}
		num[n] = v
		i++
	}
	if num[0] == 0 || num[1] == 0 || num[2] > 1<<63-1 {
		return position{}, ErrBadReply
	}
	return position{stream: num[0], consumer: num[1], stored: int64(num[2]), pending: num[3]}, nil
}
