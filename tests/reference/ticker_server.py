"""The server of a stock ticker: five random prices for each symbol, one symbol after the other."""
import os
import random
import time
from concurrent import futures

import grpc

import fin_pb2
import fin_pb2_grpc


class StockTicker(fin_pb2_grpc.StockTickerServicer):
    def __init__(self, interval):
        self._interval = interval

    def SubscribeToStockUpdates(self, request_iterator, context):
        for request in request_iterator:
            previous = round(random.uniform(100, 500), 2)
            for _ in range(5):
                price = round(previous * random.uniform(0.98, 1.02), 2)
                change = price - previous
                yield fin_pb2.StockUpdate(
                    ticker_symbol=request.ticker_symbol,
                    current_price=price,
                    price_change=round(change, 2),
                    change_percent=round(change / previous * 100, 2),
                    timestamp=int(time.time()),
                    volume=random.randint(1000, 100000),
                )
                previous = price
                time.sleep(self._interval)


def main():
    port = os.environ.get('MESSENGER_SERVER_PORT', '50051')
    interval = float(os.environ.get('TICKER_INTERVAL', '2'))

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    fin_pb2_grpc.add_StockTickerServicer_to_server(StockTicker(interval), server)
    server.add_insecure_port(f'0.0.0.0:{port}')
    server.start()
    server.wait_for_termination()


if __name__ == '__main__':
    main()
