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

// drive sends the requests in turn over keep-alive connections until the time is up, each connection its own part of
// them, and returns every latency. The clients are bare sockets, so that what is measured is the server.
func drive(address string, requests [][]byte, connections int, d time.Duration) (all []time.Duration, elapsed time.Duration, err error) {
	var mu sync.Mutex
	var clients sync.WaitGroup
	began := time.Now()
	for c := range connections {
		clients.Go(func() {
			latencies, failure := drivePart(address, requests, c, connections, began.Add(d))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, latencies...)
			if failure != nil {
				err = failure
			}
		})
	}
	clients.Wait()
	return all, time.Since(began), err
}

func drivePart(address string, requests [][]byte, first, step int, until time.Time) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	latencies := make([]time.Duration, 0, 1<<16)
	in := bufio.NewReaderSize(conn, 16<<10)
	for i := first; ; i += step {
		sent := time.Now()
		if sent.After(until) {
			return latencies, nil
		}
		if _, err := conn.Write(requests[i%len(requests)]); err != nil {
			return nil, err
		}
		if err := readAnswer(in); err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(sent))
	}
}

// readAnswer reads one answer and demands a 200.
func readAnswer(in *bufio.Reader) error {
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("not a 200: %q", line)
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(line) == 2 {
			_, err := io.CopyN(io.Discard, in, int64(length))
			return err
		}
	}
}
