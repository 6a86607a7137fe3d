package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// patience bounds every wait for a program or an answer. It is for a machine that is busy with other things.
const patience = time.Minute

// client is one connection to an extension: a bare socket, so that what is measured is the server.
type client struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

// ask sends a request and returns the status of its answer. A connection that the server has closed with its last answer is
// made anew.
func (c *client) ask(request []byte) (status int, err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.address, patience); err != nil {
			return 0, err
		}
		c.in = bufio.NewReaderSize(c.conn, 4<<10)
	}
	if err = c.conn.SetDeadline(time.Now().Add(patience)); err == nil {
		_, err = c.conn.Write(request)
	}
	closed := true
	if err == nil {
		status, closed, err = readAnswer(c.in)
	}
	if closed || err != nil {
		c.close()
	}
	return status, err
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// readAnswer reads one answer whole.
func readAnswer(in *bufio.Reader) (status int, closed bool, err error) {
	length := -1
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, true, err
		}
		if first {
			if !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) || len(line) < 13 {
				return 0, true, fmt.Errorf("no answer of HTTP: %q", line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, true, err
			}
		}
		if text, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(text))); err != nil {
				return 0, true, err
			}
		}
		closed = closed || bytes.HasPrefix(line, []byte("Connection: close"))
		if len(line) == 2 {
			break
		}
	}
	if length < 0 {
		return 0, true, fmt.Errorf("an answer with %d does not say its length", status)
	}
	_, err = io.CopyN(io.Discard, in, int64(length))
	return status, closed, err
}

// run is how long each of several requests took that were made side by side, and all of them together.
type run struct {
	latencies []time.Duration
	elapsed   time.Duration
}

// together has n workers make one thing after the other until the time is up, pausing in between. The i that each is told is a
// number that no other has; end is called behind the last one.
func together(n int, d, pause time.Duration, worker func() (one func(i int) error, end func())) (run, error) {
	var mu sync.Mutex
	var all run
	var failure error
	var workers sync.WaitGroup
	began := time.Now()
	until := began.Add(d)
	for w := range n {
		workers.Go(func() {
			one, end := worker()
			defer end()
			latencies := make([]time.Duration, 0, 1<<12)
			var err error
			for i, sent := w, time.Now(); err == nil && sent.Before(until); i, sent = i+n, time.Now() {
				if err = one(i); err == nil {
					latencies = append(latencies, time.Since(sent))
				}
				if pause > 0 {
					time.Sleep(pause)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all.latencies = append(all.latencies, latencies...)
			if err != nil {
				failure = err
			}
		})
	}
	workers.Wait()
	all.elapsed = time.Since(began)
	return all, failure
}

// drive sends the requests in turn over keep-alive connections until the time is up, each connection its own part of
// them. Each must be answered with a 200.
func drive(address string, requests [][]byte, connections int, d, pause time.Duration) (run, error) {
	return together(connections, d, pause, func() (func(int) error, func()) {
		c := &client{address: address}
		return func(i int) error {
			status, err := c.ask(requests[i%len(requests)])
			if err == nil && status != 200 {
				err = fmt.Errorf("answered with %d", status)
			}
			return err
		}, c.close
	})
}
