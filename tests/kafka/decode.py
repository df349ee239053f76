#!/usr/bin/env python3
"""Decodes a file of record batches with other people's Kafka clients.

    decode.py --check          lists the decoders that can be imported, one a line
    decode.py DECODER FILE     prints every record of FILE as a line of JSON

Decoders: kafka-python, aiokafka.  Compressed batches need python-snappy, lz4,
zstandard and cramjam too.  Bytes are printed as hexadecimal digits.
"""
import importlib
import json
import sys

MODULES = {
    'kafka-python': 'kafka.record.memory_records',
    'aiokafka': 'aiokafka.record.memory_records',
}


def available():
    for decoder, module in MODULES.items():
        try:
            importlib.import_module(module)
            for codec in ('lz4.frame', 'snappy', 'zstandard', 'cramjam'):
                importlib.import_module(codec)
        except ImportError as missing:
            print(f'{decoder}: {missing}', file=sys.stderr)
        else:
            yield decoder


def digits(content):
    return None if content is None else bytes(content).hex()


def records(decoder, content):
    batches = importlib.import_module(MODULES[decoder]).MemoryRecords(content)
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.validate_crc():
            raise ValueError('the checksum of a batch is wrong')
        for record in batch:
            yield {
                'offset': record.offset,
                'timestamp': record.timestamp,
                'key': digits(record.key),
                'value': digits(record.value),
                'headers': [[name, digits(value)] for name, value in record.headers],
            }


def main():
    if sys.argv[1:] == ['--check']:
        for decoder in available():
            print(decoder)
        return
    decoder, path = sys.argv[1:]
    with open(path, 'rb') as file:
        content = file.read()
    for record in records(decoder, content):
        print(json.dumps(record))


if __name__ == '__main__':
    main()
